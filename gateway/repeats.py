"""Knows the next event of a stream by the last one: an engine repeats all of it but its text."""

from __future__ import annotations

import re
from collections.abc import Callable

from gateway.event_shape import BOUNDS, Match, Opening, never, shape_of
from gateway.framing import CRLF, FIRST_LINES, SHORT
from gateway.source import NO_WAY, Sink, Way
from gateway.sse_events import DATA, ENDS, NEXT_DATA, TOKEN_TEXT
from gateway.waiting import due, step_due
from scheduling.core.usage import Usage

BARREN = 8  # after so many vain attempts, no more is learned of a stream's shape
# Texts with quotes in them, one in a line.
TEXTS = re.compile(rb'(?:[^"\\\n]|\\[^\n])*+(?:\n(?:[^"\\\n]|\\[^\n])*+)*+')
EVENT_END = ENDS[0] + CRLF  # and its chunk's: a text has no line end in it
SIZES_KEPT = 64  # of chunks, of which it is remembered how they begin


class Repeats:
    """What surrounds the text of the last plain event, so that most events are known by two comparisons.

    Each event that is known so counts as one token in ``usage``.
    """

    # While something is known.
    _from: int  # the length of ``_begin``
    _end: bytes
    _framed: dict[int, bytes]  # how a chunk of HTTP begins, by its bytes in all
    _end_framed: bytes

    _write: Callable[[bytes], None]  # to the way
    otherwise: Callable[[bytes], object]  # takes what does not pass

    __slots__ = (
        "_barren", "_begin", "_end", "_end_framed", "_event_bytes", "_first", "_framed", "_from", "_lead",
        "_learned_at", "_match", "_measures_tokens", "_on_first_token", "_open", "_shape", "_sink",
        "_started", "_usage", "_way", "_write", "last", "otherwise",
    )  # fmt: skip

    def __init__(
        self,
        usage: Usage,
        on_first_token: Callable[[], None],
        event_bytes: int,
        opening: Opening | None,
        *,
        measures_tokens: bool,
    ) -> None:
        self._usage = usage
        self._on_first_token = on_first_token
        self._started = False
        self._measures_tokens = measures_tokens
        self._learned_at = 0
        self._barren = 0  # how often in a row that was of no use
        self._event_bytes = event_bytes
        self._open = bytearray()  # the event that is not whole yet
        self._begin = b""  # empty while nothing is known
        self._shape: Match = never  # what tells a chunk of such an event
        self._match: Match = never  # the same while no event is open
        # Until the first token: what tells a chunk that comes before it, and its own.
        self._lead: Match = never
        self._first: Match = never
        if opening is not None and measures_tokens and event_bytes >= SHORT:
            self._lead, self._first = opening.lead, opening.first
        self._sink: Sink | None = None
        self._way: Way = NO_WAY  # nothing but events is on it, and none waits to go first
        self.last = b""  # what passed, unless it is told to who takes it

    def pour_into(self, sink: Sink) -> None:
        """Send on what ``passes`` knows from now on."""
        self._sink = sink
        if way := sink.way():
            sink.passing, self._way, self._write = self, way, way.transport.write

    def pour_no_more(self) -> None:
        """What comes now has to wait."""
        sink = self._sink
        if sink is not None:
            if self.last:
                sink.last, self.last = self.last, b""
            self._sink = sink.passing = None
            self._way = NO_WAY

    def repeats(self, data: bytes) -> bool:
        """Whether this is one event like the last plain one but for its text; it is counted then."""
        return (
            not self._open
            and data.startswith(self._begin)
            and len(data) <= self._event_bytes
            and self._is_between(data, self._from, self._end)
        )

    def passes(self, chunk: bytes) -> None:
        """Send a whole chunk of HTTP on as it came, if it is such an event, plainly framed as nearly all are.

        Any other is for ``otherwise``. All that an event costs is here in one
        place: caches are cold between two events, so what counts is how many
        different things are touched.
        """
        if self._way.writable and self._match(chunk):
            try:
                low, high = BOUNDS[len(chunk)]
            except IndexError:
                low = high = chunk
            if low < chunk < high:
                self._usage.completion_tokens += 1
                self.last = chunk
                self._write(chunk)
                return
        elif self._passes_other(chunk):
            return
        if self.last and self._sink is not None:
            self._sink.last = self.last
        self.last = b""
        self.otherwise(chunk)

    def _passes_other(self, data: bytes) -> bool:
        """As ``passes``, of the first token, or of several chunks: under load they come together."""
        if not self._way.writable or len(data) >= SHORT:
            return False
        if not self._started:
            if not self._is_first(data):
                return False
            self.last = data
            self._write(data)
            self._begun()  # only now: the client need not wait for that
            self._usage.completion_tokens += 1
            if due:
                step_due()
            return True
        *parts, rest = data.split(EVENT_END)
        if rest or len(parts) < 2:
            return False
        match = self._match
        for part in parts:
            chunk = part + EVENT_END
            low, high = BOUNDS[len(chunk)]
            if not (low < chunk < high and match(chunk)):
                return False
        self._usage.completion_tokens += len(parts)
        self.last = data
        self._write(data)
        return True

    def leads(self, data: bytes) -> tuple[bytes, int]:
        """What to pass on of the chunks that are as in the stream before, and where those end.

        They hold one event ahead of the first token, and perhaps the first token.
        """
        found = self._lead(data)
        if not found:
            return b"", 0
        end = found.end()
        lead, rest = data[:end], data[end:]
        if not self._holds(lead):
            return b"", 0
        event = lead.partition(CRLF)[2][: -len(CRLF)]
        if not (rest and self._is_first(rest)):
            return event, end
        self._begun()
        self._usage.completion_tokens += 1
        return event + rest.partition(CRLF)[2][: -len(CRLF)], len(data)

    def _is_first(self, chunk: bytes) -> bool:
        """Whether this is the first token, like that of the stream before."""
        found = self._first(chunk)
        return found is not None and found[1] != b"" and self._holds(chunk)

    def _holds(self, chunk: bytes) -> bool:
        """Whether a chunk has the size that it says, and a whole event with it."""
        if self._open or len(chunk) >= SHORT:
            return False
        low, high = BOUNDS[len(chunk)]
        return low < chunk < high

    def _begun(self) -> None:
        self._started = True
        self._shape = self._match = self._first  # until this stream's own is known
        self._lead = self._first = never
        self._on_first_token()

    @property
    def knows(self) -> bool:
        """An event like the last one would be known; or no more is learned."""
        return self._begin != b"" or self._barren >= BARREN

    def run(self, data: bytes) -> tuple[bytes, int]:
        """The events in whole chunks of HTTP at the beginning, if all are such, and where those end.

        Each counts. What is looked for in one event is looked for in all at once.
        """
        if not self._begin or self._open:
            return b"", 0
        *chunks, rest = data.split(self._end_framed)
        size = len(self._end_framed)
        framed = self._framed
        begins = [framed.get(len(chunk) + size) or self._begin_framed(len(chunk) + size) for chunk in chunks]
        if not (chunks and all(begins) and all(map(bytes.startswith, chunks, begins))):
            return b"", 0
        texts = list(map(bytes.removeprefix, chunks, begins))
        together = b"".join(texts)
        odd = together.partition(b'"')[1] or together.partition(b"\n")[1]
        if odd and not TEXTS.fullmatch(b"\n".join(texts)):
            return b"", 0
        self._usage.completion_tokens += len(texts)
        between = self._end + self._begin
        return b"%b%b%b" % (self._begin, between.join(texts), self._end), len(data) - len(rest)

    def _is_between(self, data: bytes, start: int, end: bytes) -> bool:
        """Whether what is left of ``data`` is a text and this end; it is counted then."""
        # Slices and `partition`: what takes more than one argument costs five times as much.
        to = len(end)
        if data[-to:] != end:
            return False
        text = data[start:-to]
        if text.partition(b'"')[1] or text.partition(b"\n")[1]:
            return False
        self._usage.completion_tokens += 1
        return True

    def _begin_framed(self, size: int) -> bytes:
        """How such a chunk begins that has so many bytes in all; b"": there is none."""
        if not self._begin or size >= SHORT or size > self._event_bytes or not FIRST_LINES[size]:
            return b""
        begin = FIRST_LINES[size] + self._begin
        if len(self._framed) < SIZES_KEPT:
            self._framed[size] = begin
        return begin

    def _learn(self, data: bytes) -> None:
        """Count plain events; if it is only one, remember what surrounds its text."""
        events = data.startswith(DATA) + data.count(NEXT_DATA)
        usage = self._usage
        if not (usage.estimated and self._measures_tokens):
            return
        usage.completion_tokens += events
        if events != 1 or self._barren >= BARREN:
            return
        # A stream in which something else changes each time is not worth it.
        self._barren = self._barren + 1 if usage.completion_tokens - self._learned_at < BARREN else 0
        self._learned_at = usage.completion_tokens
        text = TOKEN_TEXT.search(data)
        if text:
            self._remember(data[: text.start(1)], data[text.end(1) :])

    def _remember(self, begin: bytes, end: bytes) -> None:
        self._begin, self._from, self._end = begin, len(begin), end
        self._framed = {}
        self._end_framed = end + CRLF
        self._shape = self._match = shape_of(begin, end) if self._event_bytes >= SHORT else never

    def _forget(self) -> None:
        """The engine counts by itself from now on."""
        self._begin = b""
        self._shape = self._match = self._lead = self._first = never
