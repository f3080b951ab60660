"""What follows from the head of a request alone: whether it may be served, and what it asks for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway.classes import HEADER as CLASS
from gateway.endpoints import Endpoint, as_form
from gateway.errors import PostOnly
from gateway.forms import is_form
from gateway.headers import HOLD, IDEMPOTENCY, KEEP_ALIVE, PATIENCE, patience_ms
from gateway.input_errors import Contradictory
from gateway.own.retries import retry_count

# Two of these contradict each other: a client means one thing, and somebody else may read another.
ONCE = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"idempotency-key",
        b"transfer-encoding",
        b"x-api-key",
        b"x-end-user-id",
        b"x-priority-class",
        b"x-request-timeout",
    }
)
# W3C Trace Context, 3.2.2: version, trace id, parent id, flags; a later version may say more behind them.
TRACE, TRACE_STATE = b"traceparent", b"tracestate"
TRACEPARENT = re.compile(
    rb"(?:00(?!.*-.*-.*-.*-)|(?!00|ff)[0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    rb"(?:-[\x21-\x7e]*)?"
)
TRACE_STATE_BYTES = 512  # what everybody has to pass on (3.3.1.5)
TIMEOUTS = frozenset(PATIENCE)  # some SDKs say theirs in each request
SELDOM = TIMEOUTS | {b"x-end-user-id", CLASS, KEEP_ALIVE, HOLD, TRACE}
HANDED_ON = TIMEOUTS | {TRACE}  # nothing else follows from these


class Said(msgspec.Struct, frozen=True, gc=False):
    """What the headers of few requests ask the parser of the body for."""

    patience_ms: int | None  # the client's own deadline
    more: bool  # there is something beside these two
    trace: tuple[tuple[bytes, bytes], ...] = ()  # headers of a trace, for the engine

    @classmethod
    def by(cls, headers: Mapping[bytes, bytes]) -> Said:
        """By these headers."""
        found = SELDOM.intersection(headers)
        if not found:
            return NOTHING_SAID
        return cls(patience_ms(headers), not found <= HANDED_ON, trace_of(headers) if TRACE in found else ())


NOTHING_SAID = Said(None, more=False)


def trace_of(headers: Mapping[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    """The trace that the request is a part of, as an engine is told it; nothing of one that is malformed."""
    parent, state = headers[TRACE], headers.get(TRACE_STATE, b"")
    if not TRACEPARENT.fullmatch(parent):
        return ()
    kept = state and len(state) <= TRACE_STATE_BYTES and state.isascii()
    return ((TRACE, parent), (TRACE_STATE, state)) if kept else ((TRACE, parent),)


def trace_id(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """The id, of 32 hexadecimal digits, of the trace that an engine is told by these headers; "" of none."""
    return next((value[3:35].decode() for name, value in headers if name == TRACE), "")


class Head(msgspec.Struct, frozen=True, gc=False):
    """A head that may be served. It says the same of every request that has this head."""

    endpoint: Endpoint
    said: Said
    tries: int  # how often the client has tried before
    is_plain: bool  # the body is JSON as it comes, and to be answered however often it comes

    @classmethod
    def of(cls, scope: Mapping[str, Any], headers: Mapping[bytes, bytes], endpoint: Endpoint) -> Head:
        """Raises Contradictory or PostOnly."""
        check_heads(scope, headers)
        if scope["method"] != "POST":
            raise PostOnly
        if endpoint.or_form and is_form(headers):
            endpoint = as_form(endpoint)
        is_plain = b"content-encoding" not in headers and IDEMPOTENCY not in headers
        return cls(endpoint, Said.by(headers), retry_count(headers), is_plain)


def check_heads(scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> None:
    """Raise Contradictory for two of what may come once, and for no Host.

    ``headers`` are those of the scope by name. When none comes twice, two
    comparisons say so.
    """
    raw: Sequence[tuple[bytes, bytes]] = scope["headers"]
    if len(headers) != len(raw):
        counts = Counter(name for name, _ in raw)
        twice = sorted(name.decode() for name, count in counts.items() if count > 1 and name in ONCE)
        if twice:
            raise Contradictory(f"Send {' and '.join(twice)} once.")
    if b"host" not in headers and scope.get("http_version") != "1.0":
        raise Contradictory("Send a Host header.")
