"""What the children print, line by line with the child's name in front."""

from __future__ import annotations

import contextlib
import os
import selectors
from dataclasses import dataclass
from typing import TextIO

CHUNK_BYTES = 65536
LINE_BYTES = 65536  # a longer line is cut here


@dataclass(slots=True)
class _Source:
    name: str
    rest: bytes = b""


class Output:
    """Gathers the children's pipes into one stream."""

    def __init__(self, stream: TextIO, width: int) -> None:
        self._stream = stream
        self._width = width  # of the longest name, so that the lines stand under each other
        self._selector = selectors.DefaultSelector()

    def add(self, handle: int, name: str) -> None:
        """Read a pipe from now on, until its other end closes."""
        os.set_blocking(handle, False)
        self._selector.register(handle, selectors.EVENT_READ, _Source(name))

    def pump(self, wait_s: float) -> None:
        """Print what there is; wait for it up to ``wait_s``."""
        for key, _ in self._selector.select(wait_s):
            self._read(key.fd, key.data)

    def say(self, name: str, line: str) -> None:
        """Print one line as ``name``. A terminal that has gone is no reason to stop."""
        with contextlib.suppress(OSError):
            self._stream.write(f"{name:<{self._width}} | {line}\n")
            self._stream.flush()

    def _read(self, handle: int, source: _Source) -> None:
        try:
            chunk = os.read(handle, CHUNK_BYTES)
        except BlockingIOError:
            return
        *lines, source.rest = (source.rest + chunk).split(b"\n")
        if len(source.rest) > LINE_BYTES or not chunk:
            lines, source.rest = [*lines, source.rest], b""
        for line in lines:
            if line.strip():
                self.say(source.name, line.decode(errors="replace").rstrip())
        if not chunk:
            self._selector.unregister(handle)
            os.close(handle)
