"""The ways of Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from gateway.dialect import Dialect, place_in_line
from gateway.engine_errors import EngineRefused
from gateway.errors import Refused
from gateway.head_lines import Lines, Went, begin_lines, lines_of
from gateway.headers import QUOTA_NAMES, Headers, RequestId
from scheduling.core.quota import Granted, Left

OVERLOADED = 529  # Anthropic's 503; its SDKs raise OverloadedError and try again
TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    OVERLOADED: "overloaded_error",
}
PING = b'event: ping\ndata: {"type":"ping"}\n\n'


class MessagesDialect(Dialect):
    """Errors have a type and no code, ids another header, and a stream that waits is pinged."""

    working = PING

    def status(self, refused: Refused) -> int:
        """529 instead of a 503 that a retry can help."""
        if refused.status == 503 and refused.retry_after_ms is not None:
            return OVERLOADED
        return refused.status

    def error(self, refused: Refused, request_id: RequestId) -> bytes:
        """``{"type": "error", "error": {"type", "message"}, "request_id"}``; an engine's own stays."""
        said = refused.said if isinstance(refused, EngineRefused) else None
        if said and said.get("type") == "error" and isinstance(said.get("error"), dict):
            return msgspec.json.encode({"request_id": request_id.shown.decode(), **said})
        status = self.status(refused)
        kind = TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        error = {"type": kind, "message": str(refused)}
        return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id.shown.decode()})

    def last_words(self, refused: Refused, request_id: RequestId) -> bytes:
        """The event ``error``, which ends a stream."""
        return b"event: error\ndata: " + self.error(refused, request_id) + b"\n\n"

    def waiting(self, position: int, wait_ms: int | None) -> bytes:
        """A ping, and the place in line as a comment within it."""
        return place_in_line(position, wait_ms) + PING

    def answer_lines(self, went: Went, granted: Granted, request_id: RequestId) -> Lines:
        """The same with the id by its other name, and the allowances in Anthropic's words."""
        own = lines_of(self.id_headers(request_id) + self.quota_headers(granted.left))
        return begin_lines(*went) + own

    def quota_headers(self, left: Mapping[str, Left]) -> Headers:
        """The minute's allowances in Anthropic's words; resets are moments, not spans."""
        headers: Headers = []
        for kind, (noun, *_) in QUOTA_NAMES.items():
            if found := left.get(kind):
                reset = datetime.now(UTC) + timedelta(milliseconds=found.reset_ms)
                name = b"anthropic-ratelimit-" + noun
                headers += [
                    (name + b"-limit", b"%d" % found.limit),
                    (name + b"-remaining", b"%d" % found.remaining),
                    (name + b"-reset", reset.strftime("%Y-%m-%dT%H:%M:%SZ").encode()),
                ]
        return headers

    def id_headers(self, request_id: RequestId) -> Headers:
        """``request-id``, which Anthropic's SDKs show."""
        return [(b"request-id", request_id.shown)]


MESSAGES = MessagesDialect()
