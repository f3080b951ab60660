"""What the chunks of one engine's streams have in common: all but their texts, ids and times."""

from __future__ import annotations

import re
from collections.abc import Callable

from gateway.framing import FIRST_LINES

Match = Callable[[bytes], object]

ID, CREATED = rb'"id":"[^"\\\n]*+"', rb'"created":[0-9]++'  # neither says what kind of event it is
VARYING = re.compile(b"(%b)|(%b)" % (ID, CREATED))
TEXT = rb'[^"\n]*+'  # one with a quote in it is looked at more closely
SIZE = rb"[1-9a-f][0-9a-f]{0,2}+\r\n"
SHAPES_KEPT = 64  # that are looked for: about one for each model of an engine
SEEN_KEPT = 1024  # of those that came once: what comes in one stream only is not worth its expression
# Between which two a chunk of so many bytes stands that begins with its size.
BOUNDS = [(line, line[:-1] + b"\x0b") for line in FIRST_LINES]
NAMED, MADE = b"\1", b"\2"  # control characters are in no JSON, and mean nothing in an expression

_shapes: dict[bytes, Match] = {}
_seen: set[bytes] = set()


def never(chunk: bytes) -> None:
    """What no chunk matches."""


def shape_of(begin: bytes, end: bytes) -> Match:
    """Tells a chunk whose event has a text between these two, but perhaps not its right size (``BOUNDS``)."""
    key = VARYING.sub(_kind, begin) + b"\0" + end
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
    around = re.escape(VARYING.sub(_kind, begin)).replace(NAMED, ID).replace(MADE, CREATED)
    match = _shapes[key] = re.compile(SIZE + around + TEXT + re.escape(end) + b"\r\n").fullmatch
    return match


def _kind(found: re.Match[bytes]) -> bytes:
    return NAMED if found[1] else MADE
