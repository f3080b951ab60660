"""The headers of answers, and the id of a request."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from zlib import crc32

from gateway.errors import Refused
from scheduling.core.policy import REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE
from scheduling.core.quota import Left

Headers = list[tuple[bytes, bytes]]

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream; charset=utf-8"
ID_BYTES = 12
RANDOM_BYTES = 4096
MAX_CLIENT_ID_CHARS = 39  # a usage record's id holds 64 with "~" and our 24
SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
QUOTA_NAMES = {
    kind: tuple(b"x-ratelimit-%b-%b" % (what, noun) for what in (b"limit", b"remaining", b"reset"))
    for kind, noun in ((REQUESTS_PER_MINUTE, b"requests"), (TOKENS_PER_MINUTE, b"tokens"))
}
JITTER = 0.25  # of the wait: refused clients do not come back all at once


class _Random:
    """Bytes from the system's source, fetched for many ids at once: a call costs as much as ten ids."""

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0

    def __call__(self, count: int) -> bytes:
        at = self._at
        if at + count > len(self._bytes):
            self._bytes, at = os.urandom(RANDOM_BYTES), 0
        self._at = at + count
        return self._bytes[at : at + count]


_random_bytes = _Random()


class RequestId:
    """What one request is called. ``own`` is unique; ``shown`` is what the client called it, if it did.

    A client may use one id twice; usage records and the line in the queue may not.
    """

    __slots__ = ("own", "shown")

    def __init__(self, headers: Mapping[bytes, bytes]) -> None:
        made = _random_bytes(ID_BYTES).hex()
        theirs = headers.get(b"x-request-id", b"")
        if theirs and SANE_ID.fullmatch(theirs):
            self.own = f"{theirs[:MAX_CLIENT_ID_CHARS].decode()}~{made}"
            self.shown = theirs
        else:
            self.own = f"req_{made}"
            self.shown = self.own.encode()

    def headers(self) -> Headers:
        """On every response, errors too."""
        return [(b"x-request-id", self.shown), (b"x-fairlane-request-id", self.own.encode())]


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


def timing_headers(queue_ms: int, upstream_ms: int) -> Headers:
    """Where the time went until the answer began."""
    return [
        (b"x-queue-ms", b"%d" % queue_ms),
        (b"server-timing", b"queue;dur=%d, upstream;dur=%d" % (queue_ms, upstream_ms)),
    ]


def quota_headers(left: Mapping[str, Left]) -> Headers:
    """The minute's allowances in OpenAI's words; nothing without such a quota."""
    headers: Headers = []
    for kind, (limit, remaining, reset) in QUOTA_NAMES.items():
        if found := left.get(kind):
            headers += (
                (limit, b"%d" % found.limit),
                (remaining, b"%d" % found.remaining),
                (reset, duration(found.reset_ms)),
            )
    return headers


def refusal_headers(refused: Refused, request_id: RequestId) -> Headers:
    """Whether and when to try again. The jitter comes from the id, so a test can tell it."""
    headers = [(b"content-type", JSON)]
    if refused.allow:
        headers.append((b"allow", refused.allow))
    wait_ms = refused.retry_after_ms
    if wait_ms is None:
        headers.append((b"x-should-retry", b"false"))
        return headers
    wait_ms += int(wait_ms * JITTER * (crc32(request_id.own.encode()) % 1000) / 1000)
    headers.append((b"x-should-retry", b"true"))
    headers.append((b"retry-after", b"%d" % max(1, -(-wait_ms // 1000))))
    headers.append((b"retry-after-ms", b"%d" % wait_ms))
    return headers


def duration(span_ms: int) -> bytes:
    """OpenAI's style: ``12ms``, ``1.5s``, ``6m0s``."""
    if span_ms < 1000:
        return b"%dms" % span_ms
    minutes, rest_ms = divmod(span_ms, 60_000)
    if minutes:
        return b"%dm%ds" % (minutes, rest_ms // 1000)
    return b"%gs" % (rest_ms / 1000)


def patience_ms(headers: Mapping[bytes, bytes]) -> int | None:
    """How long the client says that it waits; None when it does not."""
    for name in (b"x-request-timeout", b"x-stainless-read-timeout"):
        if text := headers.get(name):
            try:
                seconds = float(text)
            except ValueError:
                continue
            if math.isfinite(seconds) and seconds > 0:
                return int(seconds * 1000)
    return None
