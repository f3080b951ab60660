"""What the chunks of one engine's streams have in common: all but their texts, ids and times."""

from __future__ import annotations

import re
from collections.abc import Callable

from gateway.framing import FIRST_LINES

Match = Callable[[bytes], object]

VARIES = rb'"(?:id|created)":(?:"[^"\\\n]*+"|[0-9]++)'  # none of it says what kind of event it is
VARYING = re.compile(VARIES)
TEXT = rb'[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+'
SIZE = rb"[1-9a-f][0-9a-f]{0,2}+\r\n"
SHAPES_KEPT = 64  # that are looked for: about one for each model of an engine
SEEN_KEPT = 1024  # of those that came once: what comes in one stream only is not worth its expression
# Between which two a chunk of so many bytes stands that begins with its size.
BOUNDS = [(line, line[:-1] + b"\x0b") for line in FIRST_LINES]

_shapes: dict[bytes, Match] = {}
_seen: set[bytes] = set()


def never(chunk: bytes) -> None:
    """What no chunk matches."""


def shape_of(begin: bytes, end: bytes) -> Match:
    """Tells a chunk whose event has a text between these two, but perhaps not its right size (``BOUNDS``)."""
    parts = VARYING.split(begin)
    key = b"\0".join((*parts, end))
    match = _shapes.get(key)
    if match is not None:
        return match
    if key not in _seen:
        if len(_seen) >= SEEN_KEPT:
            _seen.clear()
        _seen.add(key)
        return never
    if len(_shapes) >= SHAPES_KEPT:
        _shapes.clear()
    around = VARIES.join(map(re.escape, parts))
    match = _shapes[key] = re.compile(SIZE + around + TEXT + re.escape(end) + b"\r\n").fullmatch
    return match
