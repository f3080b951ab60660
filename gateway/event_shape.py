"""What the chunks of one engine's streams have in common: all but their texts, ids, times and models."""

from __future__ import annotations

import re
from collections.abc import Callable

from gateway.framing import FIRST_LINES, SHORT

Match = Callable[[bytes], re.Match[bytes] | None]

# None of these says what kind of event it is.
ID, CREATED, MODEL = rb'"id":"[^"\\\n]*+"', rb'"created":[0-9]++', rb'"model":"[^"\\\n]*+"'
VARYING = re.compile(b"(%b)|(%b)|(%b)" % (ID, CREATED, MODEL))
TEXT = rb'([^"\n]*+)'  # one with a quote in it is looked at more closely
SIZE = rb"[1-9a-f][0-9a-f]{0,2}+\r\n"
SHAPES_KEPT = 64  # that are looked for: about two for each engine
SEEN_KEPT = 1024  # of those that came once: what comes in one stream only is not worth its expression
# Between which two a chunk of so many bytes stands that begins with its size.
BOUNDS = [(line, line[:-1] + b"\x0b") for line in FIRST_LINES]
KINDS = (b"", b"\1", b"\2", b"\3")  # control characters are in no JSON, and mean nothing in an expression
OPENINGS_KEPT = 1024

_shapes: dict[bytes, Match] = {}
_seen: set[bytes] = set()
_openings: dict[tuple[str, str], Opening] = {}


def never(chunk: bytes) -> None:
    """What no chunk matches."""


class Opening:
    """What tells the chunks with which the last stream of an engine began: each holds one event."""

    __slots__ = ("first", "lead")

    def __init__(self) -> None:
        self.lead: Match = never  # ahead of the first token, such as the one that names the role
        self.first: Match = never  # that of the first token, whose text is its only group


def opening_of(backend: str, path: str) -> Opening:
    """How streams of this backend begin on this path."""
    opening = _openings.get((backend, path))
    if opening is None:
        if len(_openings) >= OPENINGS_KEPT:
            _openings.clear()
        opening = _openings[backend, path] = Opening()
    return opening


def shape_of(begin: bytes, end: bytes | None) -> Match:
    """Tells a chunk whose event has a text between these two, but perhaps not its right size (``BOUNDS``).

    Without an end: tells what begins with a chunk whose event is as ``begin``.
    """
    if len(begin) + len(end or b"") >= SHORT:
        return never
    alike = VARYING.sub(_kind, begin)
    key = alike if end is None else alike + b"\0" + end
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
    around = re.escape(alike)
    for kind, varying in zip(KINDS[1:], (ID, CREATED, MODEL), strict=True):
        around = around.replace(kind, varying)
    if end is None:
        match = re.compile(SIZE + around + b"\r\n").match
    else:
        match = re.compile(SIZE + around + TEXT + re.escape(end) + b"\r\n").fullmatch
    _shapes[key] = match
    return match


def _kind(found: re.Match[bytes]) -> bytes:
    return KINDS[found.lastindex or 0]
