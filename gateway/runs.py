"""Reads the chunks with which a long piece of a stream begins: nearly always one event in each, all alike."""

from __future__ import annotations

from gateway.framing import CRLF, SIZE_DIGITS, SIZES
from gateway.sse import SseScanner
from gateway.sse_events import ENDS

RUN_BYTES = 1024  # shorter pieces are of so few chunks that it gains nothing
FAULT = b"error"  # the word; an event that may be one is read with those beside it
LED_BY = 2  # chunks before events are known by the last one: one names the role, and one has the first token


def begin_of(scanner: SseScanner, data: bytes) -> tuple[bytes, int]:
    """What to pass on of the chunks at the beginning that are read, and where they end.

    The scanner has read them as if each had come alone.
    """
    out, at = scanner.leads(data)
    for _ in range(LED_BY):
        if scanner.knows:
            break
        event, end = _first(data, at)
        if not event:
            return out, at
        out += scanner.feed(event)
        at = end
    events, size = scanner.run(data[at:])
    return out + events, at + size


def _first(data: bytes, at: int) -> tuple[bytes, int]:
    """The whole event that a chunk holds, and where the chunk ends; b"" if it is no such, or a fault."""
    line = data[at : at + SIZE_DIGITS].partition(CRLF)[0]
    begin = at + len(line) + len(CRLF)
    end = begin + SIZES.get(line, 0)
    event = data[begin:end]
    if event[-len(ENDS[0]) :] != ENDS[0] or data[end : end + len(CRLF)] != CRLF or FAULT in event:
        return b"", at
    return event, end + len(CRLF)
