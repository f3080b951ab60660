"""One JSON line per request, written when its record is stored: who, what, how long, how it ended.

Nothing of a prompt or an answer is in it. The event loop knows nothing of
this log: the thread that stores records writes it.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path

OFF, STDERR = "off", "stderr"
MODE = 0o600
# What JSON lets through, and a terminal or a reader of lines may obey: DEL, C1, and Unicode's line ends.
UNSAFE = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")

log = logging.getLogger("fairlane.access")


class AccessLog:
    """Where the lines go: "off", "stderr", or a file.

    A file that grows past ``most_bytes`` is put aside once, as ``<name>.old``; one
    that somebody else has moved away is begun anew. A log that cannot be
    written holds nothing up.
    """

    def __init__(self, where: str, folder: Path, most_bytes: int) -> None:
        self._path = None if where in (OFF, STDERR) else folder / where
        self._to_stderr = where == STDERR
        self._most_bytes = most_bytes
        self._failing = False

    @property
    def on(self) -> bool:
        """Whether anybody wants lines."""
        return self._to_stderr or self._path is not None

    def write(self, lines: str) -> None:
        """Write these lines, each with its end. Never raises."""
        if not lines:
            return
        try:
            self._put(_escaped(lines.encode()))
        except OSError as error:
            if not self._failing:
                log.error("the access log cannot be written: %s", error)  # noqa: TRY400
            self._failing = True
        else:
            self._failing = False

    def _put(self, lines: bytes) -> None:
        if self._path is None:
            sys.stderr.buffer.write(lines)
            sys.stderr.buffer.flush()
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Opened for each batch, four times a second: then it may be moved away at any time.
        file = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, MODE)
        try:
            os.write(file, lines)
            full = os.fstat(file).st_size > self._most_bytes
        finally:
            os.close(file)
        if full:
            self._path.replace(self._path.with_name(f"{self._path.name}.old"))


def _escaped(lines: bytes) -> bytes:
    if lines.isascii() and b"\x7f" not in lines:
        return lines  # nearly always, and ten times as fast to tell
    return UNSAFE.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), lines)
