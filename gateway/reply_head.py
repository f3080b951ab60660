"""The head of an engine's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.calls import EngineCall

PASSED_HEADERS = frozenset({b"content-type", b"content-length", b"retry-after", b"content-disposition"})


class ReplyHead:
    """What the head says. ``status`` is 0 until it came.

    ``load`` is the engine's ORCA report, empty when it sent none.
    """

    __slots__ = (
        "_head", "backend", "call", "coding", "content_length", "content_type", "load", "status", "streamed",
    )  # fmt: skip

    def __init__(self, backend: str, call: EngineCall) -> None:
        self.backend = backend
        self.call = call
        self.status = 0
        self.content_type = b""
        self.content_length: int | None = None
        self.coding = b""
        self.load = b""
        self.streamed = False
        self._head: Mapping[bytes, bytes] = {}

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """Those that a client may see."""
        return [header for header in self._head.items() if header[0] in PASSED_HEADERS]

    def _read_head(self, headers: Mapping[bytes, bytes]) -> None:
        self._head = headers
        found = headers.get
        self.content_type = found(b"content-type", b"")
        if (length := found(b"content-length")) is not None:
            self.content_length = int(length)
        self.coding = found(b"content-encoding", b"")
        self.load = found(b"endpoint-load-metrics", b"")
