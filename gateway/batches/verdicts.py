"""What an answer of the gateway means for a line of a batch, and for the pace of the rest. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from gateway.unreadable import UNREADABLE

TOO_MANY, UNAVAILABLE, UNKNOWN_TOKEN = 429, 503, 401
FIRST_SERVER_ERROR = 500
DEFAULT_WAIT_S = 5.0
EXHAUSTED_WAIT_S = 300.0  # until a look whether a budget is renewed, or a suspended tenant is let in again
MOST_WAIT_S = 600.0
MINUTE_S = 60.0
WAITED_OUT = {"insufficient_quota", "tenant_suspended"}
ALLOWANCES = ("requests", "tokens")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway said. Headers by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether this is what was asked for."""
        return 200 <= self.status < 300

    @property
    def request_id(self) -> str:
        """What the gateway calls the request."""
        return self.headers.get("x-fairlane-request-id") or self.headers.get("x-request-id", "")


@dataclass(frozen=True, slots=True)
class Wait:
    """Nobody can be served now: the whole batch waits, and then asks the same again."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """This one failed by chance: ask it again, but not for ever."""

    seconds: float


class _Error(msgspec.Struct):
    code: str | None = None


class _Refusal(msgspec.Struct):
    error: _Error | None = None


def judge(answer: Answer) -> Answer | Wait | Repeat:
    """The answer itself when it is final, else what to do instead."""
    if answer.status < 400:
        return answer
    code = _code(answer.body)
    if code in WAITED_OUT:
        return Wait(EXHAUSTED_WAIT_S, code)
    if answer.headers.get("x-should-retry") == "false":
        return answer
    if answer.status in (TOO_MANY, UNAVAILABLE):
        return Wait(_retry_after_s(answer.headers), code or str(answer.status))
    if answer.status >= FIRST_SERVER_ERROR:
        return Repeat(_retry_after_s(answer.headers))
    return answer


def rest_s(headers: Mapping[str, str], share_percent: int) -> float:
    """How long to rest so that the batch leaves the tenant its part of the minute's allowances."""
    return max(_rest_of(headers, noun, share_percent) for noun in ALLOWANCES)


def _rest_of(headers: Mapping[str, str], noun: str, share_percent: int) -> float:
    limit = _number(headers.get(f"x-ratelimit-limit-{noun}"))
    remaining = _number(headers.get(f"x-ratelimit-remaining-{noun}"))
    if not limit or remaining is None:
        return 0.0
    kept = limit * (100 - share_percent) / 100
    return max(0.0, (kept - remaining) / limit * MINUTE_S)


def _retry_after_s(headers: Mapping[str, str]) -> float:
    exact_ms = _number(headers.get("retry-after-ms"))
    seconds = exact_ms / 1000 if exact_ms is not None else _number(headers.get("retry-after"))
    return min(MOST_WAIT_S, DEFAULT_WAIT_S if seconds is None else seconds)


def _number(text: str | None) -> float | None:
    return float(text) if text and text.isdigit() else None


def _code(body: bytes) -> str:
    try:
        error = msgspec.json.decode(body, type=_Refusal).error
    except UNREADABLE:
        return ""
    return error.code or "" if error else ""
