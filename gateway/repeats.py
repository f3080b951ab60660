"""Knows the next event of a stream by the last one: an engine repeats all of it but its text."""

from __future__ import annotations

from gateway.framing import CRLF, FIRST_LINES, SHORT
from scheduling.core.usage import Usage

SIZES_KEPT = 64  # of chunks, of which it is remembered how they begin


class Repeats:
    """What surrounds the text of the last plain event, so that most events are known by two comparisons.

    Each event that is known so counts as one token in ``usage``.
    """

    __slots__ = ("_begin", "_end", "_end_framed", "_event_bytes", "_framed", "_from", "_open", "_usage")

    def __init__(self, usage: Usage, event_bytes: int) -> None:
        self._usage = usage
        self._event_bytes = event_bytes
        self._open = bytearray()  # the event that is not whole yet
        self._begin = b""  # empty while nothing is known
        self._from = 0  # its length
        self._end = b""
        self._framed: dict[int, bytes] = {}  # how a chunk of HTTP begins, by its bytes in all
        self._end_framed = b""

    def repeats(self, data: bytes) -> bool:
        """Whether this is one event like the last plain one but for its text; it is counted then."""
        return (
            not self._open
            and data.startswith(self._begin)
            and len(data) <= self._event_bytes
            and self._is_between(data, self._from, self._end)
        )

    def repeats_framed(self, chunk: bytes) -> bool:
        """The same of a whole chunk of HTTP, framed as plainly as nearly all are."""
        begin = self._framed.get(len(chunk)) or self._begin_framed(len(chunk))
        start = len(begin)
        if not begin or chunk[:start] != begin or self._open:
            return False
        return self._is_between(chunk, start, self._end_framed)

    def _is_between(self, data: bytes, start: int, end: bytes) -> bool:
        """Whether what is left of ``data`` is a text and this end; it is counted then."""
        # Slices and `partition`: what takes more than one argument costs five times as much.
        to = len(end)
        if data[-to:] != end:
            return False
        text = data[start:-to]
        if text.partition(b'"')[1] or text.partition(b"\n")[1]:
            return False
        usage = self._usage
        if usage.estimated:
            usage.completion_tokens += 1
        return True

    def _begin_framed(self, size: int) -> bytes:
        """How such a chunk begins that has so many bytes in all; b"": there is none."""
        if not self._begin or size >= SHORT or size > self._event_bytes or not FIRST_LINES[size]:
            return b""
        begin = FIRST_LINES[size] + self._begin
        if len(self._framed) < SIZES_KEPT:
            self._framed[size] = begin
        return begin

    def _remember(self, begin: bytes, end: bytes) -> None:
        self._begin, self._from, self._end = begin, len(begin), end
        self._framed = {}
        self._end_framed = end + CRLF
