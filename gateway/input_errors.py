"""Refusals of what cannot be read at all, before it is known what is asked: headers, codings and shapes."""

from __future__ import annotations

from gateway.errors import Invalid, Overloaded, Refused
from scheduling.core.outcome import Outcome


class BadlyEncoded(Invalid):
    """The body is not what its Content-Encoding says, or it is not whole."""

    code = "invalid_encoding"


class NotForm(Invalid):
    """The body is not valid multipart/form-data."""

    code = "invalid_multipart"


class TooComplex(Invalid):
    """The body has more in it than is read: too many levels, or too many values."""

    code = "too_complex"


class Contradictory(Invalid):
    """The request has a header twice that may come once, or no Host."""

    code = "invalid_headers"


class Malformed(Invalid):
    """The request is not valid HTTP/1.1."""

    code = "malformed_request"


class HeadersTooSlow(Refused):
    """The headers did not arrive in time."""

    status = 408
    type = "invalid_request_error"
    code = "headers_timeout"
    outcome = Outcome.INVALID
    retry_after_ms = 1000


class HeadersTooLarge(Refused):
    """The headers are too large or too many."""

    status = 431
    type = "invalid_request_error"
    code = "headers_too_large"
    outcome = Outcome.TOO_LARGE


class TooManyConnections(Overloaded):
    """The gateway holds as many connections as it may. Try again soon."""

    code = "too_many_connections"


class SocketBusy(Invalid):
    """A request of this WebSocket still runs: wait for its frame "done", send "cancel", or open another."""

    status = 409
    code = "request_running"
