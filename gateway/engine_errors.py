"""The refusals that are an engine's fault, and what the client is told of it."""

from __future__ import annotations

import msgspec

from gateway.errors import Refused, error_body
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


class EngineRefused(EngineFailed):
    """The engine refused the request."""

    type = "invalid_request_error"
    retry_after_ms = None

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(Outcome.UPSTREAM_4XX)
        self.status = status
        self._body = body

    def body(self) -> bytes:
        """What the engine said, on one line; our own words when that is not JSON."""
        try:
            said = msgspec.json.decode(self._body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            said = None
        return msgspec.json.encode(said) if isinstance(said, dict) else super().body()


ENGINE_MESSAGES = {
    Outcome.CONNECT_FAIL: "The engine could not be reached.",
    Outcome.DNS_FAIL: "The engine's host name could not be resolved.",
    Outcome.UPSTREAM_4XX: "The engine refused the request.",
    Outcome.UPSTREAM_5XX: "The engine answered with a server error.",
    Outcome.UPSTREAM_TIMEOUT_TTFT: "The engine did not begin its answer in time.",
    Outcome.UPSTREAM_STALL: "The engine fell silent in the middle of its answer.",
    Outcome.UPSTREAM_RESET: "The engine broke off in the middle of its answer.",
    Outcome.UPSTREAM_GARBAGE: "The engine's answer could not be understood.",
}

_TIMEOUTS = (Outcome.UPSTREAM_TIMEOUT_TTFT, Outcome.UPSTREAM_STALL)


def engine_failed(ended: Outcome) -> EngineFailed:
    """The refusal for a backend failure of this kind."""
    return EngineTimeout(ended) if ended in _TIMEOUTS else EngineFailed(ended)


def outcome_of(refused: Refused) -> Outcome:
    """How a request with this refusal ended."""
    return refused.ended if isinstance(refused, EngineFailed) else refused.outcome
