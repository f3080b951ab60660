"""The refusals that are an engine's fault, and what the client is told of it."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.errors import Refused, error_body
from gateway.unreadable import UNREADABLE
from scheduling.core.outcome import Outcome


class EngineFailed(Refused):
    """The engine failed before it answered."""

    status = 502
    code = "upstream_error"
    retry_after_ms: int | None = 1000
    ended: Outcome

    def __init__(self, ended: Outcome) -> None:
        super().__init__(ENGINE_MESSAGES.get(ended, ""))
        self.ended = ended

    def body(self) -> bytes:
        """The error, with the outcome as its code."""
        return error_body(str(self), self.type, str(self.ended))


class EngineTimeout(EngineFailed):
    """The engine took too long."""

    status = 504


class EngineTooLong(EngineTimeout):
    """The engine's answer took longer than an answer may. Another would take as long."""

    retry_after_ms = None


class EngineRefused(EngineFailed):
    """The engine refused the request."""

    type = "invalid_request_error"
    retry_after_ms = None

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(Outcome.UPSTREAM_4XX)
        self.status = status
        self.said = _object(body)  # empty when it is not a JSON object
        if words := _words(self.said):
            self.args = (words,)

    def body(self) -> bytes:
        """What the engine said, on one line, with those of the four keys that it left out."""
        ours = {"message": str(self), "type": self.type, "param": None, "code": str(self.ended)}
        error = self.said.get("error")
        theirs = error if isinstance(error, dict) else {name: self.said.get(name) for name in ours}
        known = {name: value for name, value in theirs.items() if value is not None}
        return msgspec.json.encode({**self.said, "error": {**ours, **known, "message": str(self)}})


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(body)
    except UNREADABLE:
        return {}
    return said if isinstance(said, dict) else {}


def _words(said: dict[str, Any]) -> str:
    """The sentence in an engine's error: OpenAI's place for it, TGI's, old vLLM's, FastAPI's."""
    error = said.get("error")
    found = error.get("message") if isinstance(error, dict) else error
    found = found or said.get("message") or said.get("detail")
    return found if isinstance(found, str) else ""


ENGINE_MESSAGES = {
    Outcome.CONNECT_FAIL: "The engine could not be reached.",
    Outcome.DNS_FAIL: "The engine's host name could not be resolved.",
    Outcome.UPSTREAM_4XX: "The engine refused the request.",
    Outcome.UPSTREAM_5XX: "The engine answered with a server error.",
    Outcome.UPSTREAM_TIMEOUT_TTFT: "The engine did not begin its answer in time.",
    Outcome.UPSTREAM_TIMEOUT_TOTAL: "The engine's answer took longer than an answer may.",
    Outcome.UPSTREAM_STALL: "The engine fell silent in the middle of its answer.",
    Outcome.UPSTREAM_RESET: "The engine broke off in the middle of its answer.",
    Outcome.UPSTREAM_GARBAGE: "The engine's answer could not be understood.",
}

_TIMEOUTS: dict[Outcome, type[EngineTimeout]] = {
    Outcome.UPSTREAM_TIMEOUT_TTFT: EngineTimeout,
    Outcome.UPSTREAM_TIMEOUT_TOTAL: EngineTooLong,
    Outcome.UPSTREAM_STALL: EngineTimeout,
}


def engine_failed(ended: Outcome) -> EngineFailed:
    """The refusal for a backend failure of this kind."""
    return _TIMEOUTS.get(ended, EngineFailed)(ended)


def outcome_of(refused: Refused) -> Outcome:
    """How a request with this refusal ended."""
    return refused.ended if isinstance(refused, EngineFailed) else refused.outcome
