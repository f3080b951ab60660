"""The head of an answer as lines that are ready to be sent.

Nearly every request's answer has the same headers with other figures in them,
so they are made as bytes and not as pairs. What comes from elsewhere (the
engine's content type, names of classes and models) is looked at when its line
is made, and that is remembered: no value can smuggle another header.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from gateway.headers import (
    Headers,
    duration,
    model_headers,
    quota_headers,
    scheduling_headers,
    stream_headers,
)
from scheduling.core.policy import REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE
from scheduling.core.quota import Granted, Left

Lines = bytes  # of headers, each ``name: value`` with a line break at its end and nowhere else
Went = tuple[str, int, int, int]  # how a request went: its class, the rules' revision, ms in line, ms after
# As bytes, and filled in at once, they take half as long as as text.
TIME_LINES = b"x-queue-ms: %d\r\nopenai-processing-ms: %d\r\nserver-timing: queue;dur=%d, upstream;dur=%d\r\n"
SPANS = [duration(span_ms) for span_ms in range(1000)]  # where little of a quota is used, as mostly
LEFT_LINES = (
    b"x-ratelimit-remaining-requests: %d\r\nx-ratelimit-reset-requests: %b\r\n"
    b"x-ratelimit-remaining-tokens: %d\r\nx-ratelimit-reset-tokens: %b\r\n"
    b'ratelimit: "requests";r=%d;t=%d, "tokens";r=%d;t=%d\r\n'
)


def lines_of(headers: Sequence[tuple[bytes, bytes]]) -> Lines:
    """The lines of any headers. Raises ValueError on one that could smuggle another."""
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    breaks = len(headers)
    if lines.count(b"\n") != breaks or lines.count(b"\r") != breaks:
        raise ValueError("a header of the response holds a line break")
    return lines


def headers_of(lines: Lines) -> Headers:
    """The headers of such lines, for whom they have to be told one by one."""
    found = [line.partition(b": ") for line in lines.split(b"\r\n")[:-1]]
    return [(name, value) for name, _, value in found]


@lru_cache(maxsize=256)  # types that engines name
def type_line(content_type: bytes) -> Lines:
    """What the engine says its answer is. Raises ValueError."""
    return lines_of([(b"content-type", content_type)])


@lru_cache(maxsize=256)  # types that engines name
def stream_lines(content_type: bytes) -> Lines:
    """``stream_headers``. Raises ValueError."""
    return lines_of(stream_headers(content_type))


@lru_cache(maxsize=256)  # models that requests are led to
def model_line(model: str) -> Lines:
    """``model_headers``. Raises ValueError."""
    return lines_of(model_headers(model))


def begin_lines(priority_class: str, revision: int, queue_ms: int, upstream_ms: int) -> Lines:
    """Which rules the request ran under, and where the time went until the answer began."""
    times = TIME_LINES % (queue_ms, queue_ms + upstream_ms, queue_ms, upstream_ms)
    return _scheduling_lines(priority_class, revision) + times


@lru_cache(maxsize=64)  # classes, of the revisions in use
def _scheduling_lines(priority_class: str, revision: int) -> Lines:
    return lines_of(scheduling_headers(priority_class, revision))


def answer_lines(went: Went, granted: Granted) -> Lines:
    """``begin_lines``, and ``quota_headers`` of what was left; in one piece when both kinds are bounded."""
    requests, tokens = granted.least()
    if requests is None or tokens is None:
        return begin_lines(*went) + lines_of(quota_headers(granted.left))
    priority_class, revision, queue_ms, upstream_ms = went
    most_requests, requests_left, requests_ms = requests
    most_tokens, tokens_left, tokens_ms = tokens
    return _answer_form(priority_class, revision, most_requests, most_tokens) % (
        queue_ms, queue_ms + upstream_ms, queue_ms, upstream_ms,
        requests_left, SPANS[requests_ms] if requests_ms < 1000 else _span(requests_ms),
        tokens_left, SPANS[tokens_ms] if tokens_ms < 1000 else _span(tokens_ms),
        requests_left, -(-requests_ms // 1000), tokens_left, -(-tokens_ms // 1000),
    )  # fmt: skip


@lru_cache(maxsize=1024)  # classes, and limits in use
def _answer_form(priority_class: str, revision: int, requests: int, tokens: int) -> Lines:
    """The lines of an answer, with what differs between two of them left out."""
    whole = {REQUESTS_PER_MINUTE: Left(requests, requests, 0), TOKENS_PER_MINUTE: Left(tokens, tokens, 0)}
    told = (b"x-ratelimit-limit-requests", b"x-ratelimit-limit-tokens", b"ratelimit-policy")
    limits = lines_of([header for header in quota_headers(whole) if header[0] in told])
    same = (_scheduling_lines(priority_class, revision) + limits).replace(b"%", b"%%")
    return same + TIME_LINES + LEFT_LINES


@lru_cache(maxsize=4096)  # where much of a quota is used
def _span(span_ms: int) -> bytes:
    return duration(span_ms)
