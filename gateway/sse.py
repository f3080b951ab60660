"""Reads a stream of server-sent events as its bytes pass, and changes none but one of them."""

from __future__ import annotations

from collections.abc import Callable

from gateway.event_shape import Opening, never, shape_of
from gateway.repeats import Repeats
from gateway.reported import note_bare, note_event
from gateway.sse_events import (
    BOUNDARY,
    CHOICE,
    DATA,
    DELTA_NAME,
    DONE,
    DONE_LINE,
    ENDS,
    ERROR,
    EVENT_NAME,
    FAULT,
    FINISH,
    FINISHED,
    LAST,
    LAST_EVENT,
    NEXT_DATA,
    NO_TOKEN,
    OBJECT,
    TOKEN,
    USAGE,
    after_blank_lines,
    is_fault,
    is_simple,
    plain_end,
    usage_is_null,
)
from scheduling.core.usage import Usage

HOLD_BYTES = 4 * 1024  # a usage event is a tenth of this; a longer event is never held back
NAME_BYTES = 256  # its name is the first line of an event
STREAM_END = LAST + ENDS[0]
FEW = 4  # events that are read one by one without a look for the plain ones among them


class SseScanner(Repeats):
    """Bytes in, the same bytes out, and what they say.

    The facts do not depend on how the bytes are cut into pieces. Only when
    ``strip_usage`` is set is anything changed: the event that holds usage
    and no choice is left out, and an event that is not whole yet waits while
    it may still turn out to be that one.

    ``usage`` grows by one completion token for each data event from the
    first token on, until the engine reports its own figures. An event larger
    than ``event_bytes`` passes unread, so that memory is bounded.
    """

    __slots__ = (
        "_named", "_opening", "_passed", "_prompt_known", "_skipping", "_strip_usage", "done", "errored",
        "finished",
    )  # fmt: skip

    def __init__(
        self,
        usage: Usage,
        on_first_token: Callable[[], None],
        *,
        strip_usage: bool,
        event_bytes: int,
        measures_tokens: bool = True,
        opening: Opening | None = None,
    ) -> None:
        super().__init__(usage, on_first_token, event_bytes, opening, measures_tokens=measures_tokens)
        self._opening = opening
        self._strip_usage = strip_usage
        self._passed = 0  # how much of it has been passed on
        self._skipping = False  # it is too large to be read; only its last two bytes are kept
        self._prompt_known = False  # the engine reported the prompt's figures ahead of the answer
        self._named = False  # the stream has `event:` lines
        self.done = False  # the stream's own last event was seen
        self.finished = False  # a finish reason was seen
        self.errored = False  # an error event was seen

    @property
    def complete(self) -> bool:
        """Whether a stream that ends here, in good order, is a whole answer."""
        return self.done or self.finished

    @property
    def at_boundary(self) -> bool:
        """Whether what was passed on ends between two events, where a comment may be put."""
        return not self._passed

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those to pass on."""
        if self._begin and self.repeats(data):
            return data
        if self._open or not data.endswith(ENDS):
            return self._feed_pieces(data)
        if data[-len(STREAM_END) :] != STREAM_END and self._is_plain(data):
            if self._started:
                self._learn(data)
            elif not self._reads_first(data):
                return self._read_all(data)
            return data
        if data.count(NEXT_DATA) < FEW and is_simple(data) and len(data) <= self._event_bytes:
            return self._read_few(data)
        return self._read_all(data)

    def _reads_first(self, data: bytes) -> bool:
        """Read plain events before the first token, if it is in none of them, or in the first or second."""
        if data.partition(EVENT_NAME)[1]:
            return False
        is_one = data[: len(DATA)] == DATA and data.count(b"\n") == len(ENDS[0])
        opening = self._opening
        if TOKEN.search(data):
            if not is_one:
                lead, end, token = data.partition(ENDS[0])
                lead += end
                is_second = data.count(b"\n") == 2 * len(ENDS[0]) and not TOKEN.search(lead)
                return is_second and self._reads_first(lead) and self._reads_first(token)
            self._begun()
            self._learn(data)
            if opening is not None:
                opening.first = self._shape
        elif is_one and opening is not None:
            opening.lead = shape_of(data, None)
        return True

    def finish(self) -> bytes:
        """The stream has ended: the bytes still held back."""
        rest = bytes(self._open[self._passed :])
        self._open.clear()
        self._passed = 0
        return rest

    def _is_plain(self, data: bytes) -> bool:
        """Whether whole events hold nothing but text."""
        find = data.find  # `in` takes three times as long: it tries bytes as a number first
        return (
            find(ERROR) < 0
            and find(FINISH[0]) < 0
            and find(FINISH[1]) < 0
            and find(DONE) < 0
            and (find(USAGE) < 0 or usage_is_null(data))
            and (not self._named or data.count(EVENT_NAME) == data.count(DELTA_NAME))
            and len(data) <= self._event_bytes
        )

    def _feed_pieces(self, data: bytes) -> bytes:
        out = self._join(data)
        self._match = never if self._open else self._shape
        return out

    def _join(self, data: bytes) -> bytes:
        """Join the event that is under way; read those that are whole now."""
        known = len(self._open)
        self._open += data
        out = b"" if known > 1 else self._pass_blank_lines()
        first = BOUNDARY.search(self._open, max(0, known - 2))
        if first is None:
            return out + self._pass_open()
        joined = bytes(self._open)
        cut = first.end()
        if self._skipping or self._keeps(joined[:cut]):
            out += joined[self._passed : cut]
        end = max(joined.rfind(ENDS[0], cut) + 2, joined.rfind(ENDS[1], cut) + 3, cut)
        if end > cut:
            out += self._read_all(joined[cut:end])
        self._open = bytearray(joined[end:])
        self._passed = 0
        self._skipping = False
        return out + self._pass_blank_lines() + self._pass_open()

    def _pass_blank_lines(self) -> bytes:
        """More blank lines between two events than needed belong to neither."""
        end = after_blank_lines(self._open, 0)
        if not end:
            return b""
        out = bytes(self._open[self._passed : end])
        del self._open[:end]
        self._passed = 0
        return out

    def _pass_open(self) -> bytes:
        """Pass on the event that is not whole yet, unless it may be left out."""
        size = len(self._open)
        if self._strip_usage and not self._passed and size <= HOLD_BYTES and not CHOICE.search(self._open):
            return b""
        out = bytes(self._open[self._passed :])
        self._passed = size
        if self._skipping or size > self._event_bytes:
            if not self._skipping:
                self._read_name(bytes(self._open[:NAME_BYTES]))
            self._skipping = True
            del self._open[:-2]
            self._passed = len(self._open)
        return out

    def _read_all(self, data: bytes) -> bytes:
        """Read whole events one by one."""
        kept = []
        start = 0
        bulk = len(data) <= self._event_bytes and EVENT_NAME not in data
        while start < len(data):
            if bulk and self._started:
                bulk = False  # once a piece: what follows is the end of a stream, or stranger things
                if (end := plain_end(data, start)) > start:
                    self._add(data.startswith(DATA, start) + data.count(NEXT_DATA, start, end))
                    kept.append(data[start:end])
                    start = end
                    continue
            begin = after_blank_lines(data, start)
            kept.append(data[start:begin])
            boundary = BOUNDARY.search(data, begin)
            if boundary is None:
                break
            start = boundary.end()
            if self._keeps(data[begin:start]):
                kept.append(data[begin:start])
        return b"".join(kept)

    def _read_few(self, data: bytes) -> bytes:
        """Read what is simple, as the end of a stream nearly always is."""
        events = data[: -len(ENDS[0])].split(ENDS[0])
        kept = [event for event in events if self._keeps_simple(event)]
        return data if len(kept) == len(events) else b"".join([event + ENDS[0] for event in kept])

    def _keeps_simple(self, event: bytes) -> bool:
        """As ``_keeps``, of an event without its end, in which no fault, no name and no odd line end is."""
        if event == LAST:
            self.done = True
            return True
        if event[: len(OBJECT)] != OBJECT or event.partition(b"\n")[1]:
            return self._keeps(event + ENDS[0])
        if not self.finished and FINISHED.search(event):
            self.finished = True
        _, named, said = event.partition(USAGE)
        bare = named and (said[:2] == b":{" or not usage_is_null(event)) and self._read_usage(event)
        if not bare:
            self._count(event)
        return not (bare and self._strip_usage and len(event) + len(ENDS[0]) <= HOLD_BYTES)

    def _keeps(self, event: bytes) -> bool:
        """Read one event; False if it is to be left out."""
        if len(event) > self._event_bytes:
            self._read_name(event[:NAME_BYTES])
            return True
        if EVENT_NAME in event:
            self._read_name(event)
        if DATA not in event:
            return True
        if DONE in event and DONE_LINE.search(event):
            self.done = True
            return True
        if ERROR in event and FAULT.search(event) and is_fault(event):
            self.errored = True
            return True
        if FINISHED.search(event):
            self.finished = True
        bare = USAGE in event and not usage_is_null(event) and self._read_usage(event)
        if not bare:
            self._count(event)
        return not (bare and self._strip_usage and len(event) <= HOLD_BYTES)

    def _read_name(self, event: bytes) -> None:
        """A stream with named events is not an OpenAI completion: its end has another name."""
        if event.startswith(EVENT_NAME) or b"\n" + EVENT_NAME in event:
            self._named = self._named or not self._started
            if self._named and LAST_EVENT.search(event):
                self.done = True

    def _count(self, event: bytes) -> None:
        if self._named and NO_TOKEN.search(event):
            return
        if not self._started:
            if not TOKEN.search(event):
                return
            self._begun()
        self._add(event.startswith(DATA) + event.count(NEXT_DATA))

    def _add(self, tokens: int) -> None:
        if self._usage.estimated and self._measures_tokens:
            self._usage.completion_tokens += tokens

    def _read_usage(self, event: bytes) -> bool:
        """Note the engine's figures; True if the event says nothing else."""
        bare = self._measures_tokens and note_bare(event, self._usage)
        if not bare:
            self._prompt_known, bare = note_event(
                event, self._usage, measures_tokens=self._measures_tokens, prompt_known=self._prompt_known
            )
        if not self._usage.estimated:
            self._forget()
        return bare
