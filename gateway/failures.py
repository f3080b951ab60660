"""How an engine can fail a request, each way with what may be done about it."""

from __future__ import annotations

import re

from scheduling.core.outcome import Outcome

SERVER_ERROR = 500  # of HTTP: this and above
ERROR_MESSAGE = re.compile(rb'"message"\s*:\s*"((?:[^"\\]|\\.){0,300})')


class BackendFailure(Exception):
    """The engine failed.

    ``retryable`` says that no byte of an answer's body came, so another
    backend may be asked; whoever has sent something to the client by then
    must not. ``busy`` says that the engine refused for want of room: the
    request goes back to the head of its line, uncharged. ``told`` says that
    the client has the engine's own error event already, so that a second
    one would be wrong. ``status`` and ``body`` are the engine's (0 and
    empty when it said nothing).
    """

    outcome = Outcome.UPSTREAM_RESET
    retryable = False
    busy = False

    def __init__(self, message: str = "", backend: str = "", *, retryable: bool | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())
        self.backend = backend
        self.status = 0
        self.body = b""
        self.told = False
        self.retry_after_s: float | None = None
        if retryable is not None:
            self.retryable = retryable

    @property
    def counts(self) -> bool:
        """The engine looks ill, if this came before the first token of its answer."""
        return True


class ConnectFailed(BackendFailure):
    """The engine could not be reached."""

    outcome = Outcome.CONNECT_FAIL
    retryable = True


class AddressRefused(ConnectFailed):
    """The engine's name leads to a link-local address, which is not allowed."""


class NameUnknown(BackendFailure):
    """The engine's host name could not be resolved."""

    outcome = Outcome.DNS_FAIL
    retryable = True


class FirstByteTimeout(BackendFailure):
    """The engine did not begin its answer in time."""

    outcome = Outcome.UPSTREAM_TIMEOUT_TTFT
    retryable = True


class Stalled(BackendFailure):
    """The engine fell silent in the middle of its answer."""

    outcome = Outcome.UPSTREAM_STALL


class TooLong(BackendFailure):
    """The engine's answer took longer than an answer may."""

    outcome = Outcome.UPSTREAM_TIMEOUT_TOTAL


class Broken(BackendFailure):
    """The engine's connection broke before its answer was whole."""


class Stopping(BackendFailure):
    """The gateway is stopping."""

    counts = False  # the engine is as well as before


class Truncated(Broken):
    """The engine ended its stream in good order, but the answer was not whole."""


class Garbage(BackendFailure):
    """What the engine sent is not an answer."""

    outcome = Outcome.UPSTREAM_GARBAGE


class EngineErrored(BackendFailure):
    """The engine reported an error of its own."""

    outcome = Outcome.UPSTREAM_5XX

    def __init__(
        self, message: str = "", *, status: int = 0, body: bytes = b"", retryable: bool = False
    ) -> None:
        super().__init__(message, retryable=retryable)
        self.status = status
        self.body = body

    @classmethod
    def in_band(cls, body: bytes, *, told: bool) -> EngineErrored:
        """The error event ``body`` in a stream. ``told``: the client has got it too."""
        found = ERROR_MESSAGE.search(body)
        said = found[1].decode(errors="replace") if found else "no message"
        failure = cls(f"{cls.__doc__} {said}", body=body, retryable=not told)
        failure.told = told
        return failure

    @property
    def counts(self) -> bool:
        """An error that is no server error may be about the request; for want of room none is ill."""
        return self.status >= SERVER_ERROR and not self.busy


class Busy(EngineErrored):
    """The engine has no room for more requests now."""

    busy = True

    def __init__(
        self, message: str = "", *, status: int, body: bytes = b"", retry_after_s: float | None
    ) -> None:
        super().__init__(message, status=status, body=body, retryable=True)
        self.retry_after_s = retry_after_s
        if status < 500:
            self.outcome = Outcome.UPSTREAM_4XX
