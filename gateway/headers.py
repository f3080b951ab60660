"""The headers of answers, and the id of a request."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from time import time
from zlib import crc32

import msgspec

from gateway.errors import Invalid, Refused
from scheduling.core.policy import REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE
from scheduling.core.quota import Left

Headers = list[tuple[bytes, bytes]]

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream; charset=utf-8"
ID_DIGITS = 16  # of chance, after the millisecond
RANDOM_BYTES = 4096  # a multiple of what an id takes
OUR_ID = re.compile(r"req_([0-9a-f]{11})[0-9a-f]{16}")
SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
HOLD = b"x-hold-ms"
IDEMPOTENCY = b"idempotency-key"
ORIGINAL = b"x-fairlane-original-request-id"  # whose answer this is, for a key that came before
KEEP_ALIVE, BLANKS = b"x-keepalive", b"whitespace"
QUOTA_NAMES = {
    kind: (noun, *(b"x-ratelimit-%b-%b" % (what, noun) for what in (b"limit", b"remaining", b"reset")))
    for kind, noun in ((REQUESTS_PER_MINUTE, b"requests"), (TOKENS_PER_MINUTE, b"tokens"))
}
# Our own, and those that the SDKs in Python and in JavaScript send.
PATIENCE = (b"x-request-timeout", b"x-stainless-read-timeout", b"x-stainless-timeout")
# An SDK hangs up when its time is over, and tries again at once. A moment before, it can still hear why
# it got nothing and when to come back.
BEFORE_SDKS, BEFORE_SDKS_MS = 0.05, 500.0  # of its time, at most
JITTER = 0.25  # of the wait: refused clients do not come back all at once


def _ids() -> Iterator[str]:
    """Our ids. Bytes come from the system's source for many at once: a call costs as much as ten ids."""
    begun_ms, begin = 0, ""
    places = [slice(at, at + ID_DIGITS) for at in range(0, 2 * RANDOM_BYTES, ID_DIGITS)]
    while True:
        for chance in map(os.urandom(RANDOM_BYTES).hex().__getitem__, places):
            now_ms = int(time() * 1000)
            if now_ms != begun_ms:
                begun_ms, begin = now_ms, f"req_{now_ms:011x}"
            yield begin + chance


_our_ids = _ids()


class RequestId(msgspec.Struct, frozen=True, gc=False):
    """What one request is called: ``own`` by us, and ``clients`` by the client, "" if it says nothing.

    A client may use one id twice; usage records and the line in the queue may
    not. So its id is shown back and kept in a column of its own, and is no key.
    Ours begins with its time, by which its record is found among millions.
    """

    own: str
    clients: str = ""

    @staticmethod
    def of(headers: Mapping[bytes, bytes]) -> RequestId:
        """A new one for a request with these headers."""
        theirs = headers.get(b"x-request-id")
        if theirs is None or not SANE_ID.fullmatch(theirs):
            return RequestId(next(_our_ids))
        return RequestId(next(_our_ids), theirs.decode())

    @property
    def shown(self) -> bytes:
        """The client's if it has one, or else ours."""
        return (self.clients or self.own).encode()

    def headers(self) -> Headers:
        """On every response, errors too."""
        return [(b"x-request-id", self.shown), (b"x-fairlane-request-id", self.own.encode())]

    def lines(self) -> str:
        """The same as lines of a head: neither id can hold a line break."""
        own = self.own
        return f"x-request-id: {self.clients or own}\r\nx-fairlane-request-id: {own}\r\n"


def made_at(own_id: str) -> float | None:
    """When we made this id, in Unix seconds; None when it is none of ours."""
    found = OUR_ID.fullmatch(own_id)
    return int(found[1], 16) / 1000 if found else None


def stream_headers(content_type: bytes = EVENT_STREAM) -> Headers:
    """What keeps proxies from holding a stream back. Never ``connection: close``: an abort must be seen."""
    return [
        (b"content-type", content_type),
        (b"cache-control", b"no-cache, no-transform"),
        (b"x-accel-buffering", b"no"),
    ]


def scheduling_headers(priority_class: str, revision: int) -> Headers:
    """Which rules the request ran under."""
    return [
        (b"x-priority-class", priority_class.encode()),
        (b"x-scheduler-policy", b"v%d" % revision),
    ]


def model_headers(model: str) -> Headers:
    """Which model answers, for a request that asked for another name."""
    return [(b"x-fairlane-model", model.encode())]


def quota_headers(left: Mapping[str, Left]) -> Headers:
    """The minute's allowances in OpenAI's words and the IETF's; nothing without such a quota."""
    headers: Headers = []
    policies, states = [], []
    for kind, found in left.items():
        noun, limit, name, reset = QUOTA_NAMES[kind]
        remaining = b"%d" % found.remaining
        headers += [
            (limit, b"%d" % found.limit),
            (name, remaining),
            (reset, duration(found.reset_ms)),
        ]
        policies.append(b'"%b";q=%d;w=60' % (noun, found.limit))
        states.append(b'"%b";r=%b;t=%d' % (noun, remaining, -(-found.reset_ms // 1000)))
    if policies:
        headers += [(b"ratelimit-policy", b", ".join(policies)), (b"ratelimit", b", ".join(states))]
    return headers


def refusal_headers(refused: Refused, request_id: RequestId) -> Headers:
    """Whether and when to try again."""
    headers = [(b"content-type", JSON)]
    if refused.allow:
        headers.append((b"allow", refused.allow))
    wait_ms = retry_after_ms(refused, request_id)
    if wait_ms is None:
        headers.append((b"x-should-retry", b"false"))
        return headers
    headers.append((b"x-should-retry", b"true"))
    headers.append((b"retry-after", b"%d" % max(1, -(-wait_ms // 1000))))
    headers.append((b"retry-after-ms", b"%d" % wait_ms))
    return headers


def retry_after_ms(refused: Refused, request_id: RequestId) -> int | None:
    """When to try again; None: it cannot help. The jitter comes from the id, so a test can tell it."""
    wait_ms = refused.retry_after_ms
    if wait_ms is None:
        return None
    return wait_ms + int(wait_ms * JITTER * (crc32(request_id.own.encode()) % 1000) / 1000)


def duration(span_ms: int) -> bytes:
    """OpenAI's style: ``12ms``, ``1.5s``, ``6m0s``."""
    if span_ms < 1000:
        return b"%dms" % span_ms
    minutes, rest_ms = divmod(span_ms, 60_000)
    if minutes:
        return b"%dm%ds" % (minutes, rest_ms // 1000)
    return b"%gs" % (rest_ms / 1000)


def hold_s(headers: Mapping[bytes, bytes]) -> float:
    """For how long a stream may hold back its status line: x-hold-ms, or ``inf``. Raises Invalid."""
    try:
        span_ms = float(headers[HOLD])
    except ValueError:
        span_ms = math.nan
    if not span_ms >= 0:
        raise Invalid("x-hold-ms must be a number of milliseconds from 0, or inf.", param="x-hold-ms")
    return span_ms / 1000


def patience_ms(headers: Mapping[bytes, bytes]) -> int | None:
    """How long to let the client wait, by the shortest of all it says; None when it says nothing."""
    found = []
    for name in PATIENCE:
        if text := headers.get(name):
            try:
                span_ms = float(text) * 1000  # this may be infinite where the seconds are not
            except ValueError:
                continue
            if math.isfinite(span_ms) and span_ms > 0:
                if name != PATIENCE[0]:
                    span_ms -= min(span_ms * BEFORE_SDKS, BEFORE_SDKS_MS)
                found.append(max(1, int(span_ms)))
    return min(found, default=None)
