"""Where an HTTP/1.1 message ends, told as cheaply as Python can: for messages known to be well formed."""

from __future__ import annotations

import re

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
END = b"0\r\n\r\n"
CHUNKS = -1  # instead of a number of missing bytes


class Framer:
    """One message after the other on one connection. ``head`` is the newest one's."""

    __slots__ = ("_early", "_missing", "_tail", "head")

    def __init__(self) -> None:
        self.head = b""
        self._early = b""  # of a head that has not come whole
        self._missing = 0
        self._tail = b""

    def feed(self, data: bytes) -> bool:
        """Whether these bytes end a message."""
        if self._missing > 0:
            self._missing -= len(data)
            return self._missing == 0
        if self._missing == CHUNKS:
            return self._is_last_chunk(data)
        data = self._early + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._early = data
            return False
        self._early, self.head = b"", data[: end + 2]
        return self._begin_body(data[end + 4 :])

    @property
    def inside(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._missing or self._early)

    def _begin_body(self, body: bytes) -> bool:
        if found := LENGTH.search(self.head):
            self._missing = int(found[1]) - len(body)
            return self._missing == 0
        if CHUNKED.search(self.head):
            self._missing, self._tail = CHUNKS, b""
            return self._is_last_chunk(body)
        return True

    def _is_last_chunk(self, data: bytes) -> bool:
        if data.endswith(END) or (len(data) < len(END) and (self._tail + data).endswith(END)):
            self._missing = 0
            return True
        self._tail = (self._tail + data)[-len(END) :] if len(data) < len(END) else data[-len(END) :]
        return False
