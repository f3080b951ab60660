"""A head that is known again: only what the parser would read the same."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.endpoints import ENDPOINTS
from gateway.errors import PostOnly
from gateway.heads import NOTHING_SAID, Head, Said
from gateway.input_errors import Contradictory
from gateway.known_head import KnownHead

HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %b\r\nx-a: b\r\n\r\n"
BODY = b'{"model": "m"}'


class Parsed:
    """What llhttp makes of bytes."""

    def __init__(self, data):
        self.headers, self.body, self.url, self.ended = [], b"", b"", 0
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_url(self, url):
        self.url += url

    def on_header(self, name, value):
        self.headers.append((name.lower(), value))

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        self.ended += 1


def request(body=BODY, head=HEAD):
    return head % b"%d" % len(body) + body if b"%b" in head else head + body


def known(data=None, body=BODY):
    data = request() if data is None else data
    return KnownHead.of(data, body, {"path": "/v1/completions", "headers": Parsed(data).headers})


def test_the_same_head_with_another_body_of_as_many_digits_is_known():
    head = known()
    other = b"x" * 99
    assert head.body_of(request(other)) == other
    head.tell_length(other)
    parsed = Parsed(request(other))
    assert head.scope["headers"] == parsed.headers
    assert head.headers == dict(parsed.headers)


@pytest.mark.parametrize(
    ("header", "head"),
    [
        ((b"x-a", b"b"), (NOTHING_SAID, 0, True)),
        ((b"x-stainless-retry-count", b"2"), (NOTHING_SAID, 2, True)),
        ((b"x-stainless-retry-count", b"-2"), (NOTHING_SAID, 0, True)),
        ((b"x-request-timeout", b"5"), (Said(5000, more=False), 0, True)),
        ((b"x-priority-class", b"batch"), (Said(None, more=True), 0, True)),
        ((b"idempotency-key", b"1"), (NOTHING_SAID, 0, False)),
        ((b"content-encoding", b"gzip"), (NOTHING_SAID, 0, False)),
    ],
)
def test_a_head_says_what_it_asks_for(header, head):
    endpoint, headers = ENDPOINTS["/v1/completions"], [(b"host", b"x"), header]
    scope = {"method": "POST", "headers": headers, "http_version": "1.1"}
    assert Head.of(scope, dict(headers), endpoint) == Head(endpoint, *head)


@pytest.mark.parametrize(
    ("scope", "refused"),
    [
        ({"method": "GET", "headers": [(b"host", b"x")]}, PostOnly),
        ({"method": "POST", "headers": []}, Contradictory),
        ({"method": "POST", "headers": [(b"host", b"x"), (b"host", b"x")]}, Contradictory),
    ],
)
def test_a_head_that_may_not_be_served_is_refused(scope, refused):
    with pytest.raises(refused):
        Head.of(scope, dict(scope["headers"]), ENDPOINTS["/v1/completions"])


@pytest.mark.parametrize(
    "data",
    [
        request(b"x" * 100),  # a digit more
        request()[:-1],  # not whole
        request() + b"P",  # the next request has begun
        request(head=HEAD.replace(b"x-a: b", b"x-a: c")),
        request(head=HEAD.replace(b"Host: x", b"Host: y")),
        HEAD % b"+4" + b"body",
        HEAD % b"\xb2\xb2" + BODY,
        b"",
    ],
)
def test_anything_else_is_left_to_the_parser(data):
    assert known().body_of(data) is None


def test_a_length_that_is_less_than_none_is_left_to_the_parser():
    """It has fewer digits than what was there, by as much as it says."""
    body = b"x" * 1_000_000
    head = known(request(body), body)
    assert head.body_of(request(body)) == body
    assert head.body_of(HEAD % b"-5") is None


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nx-a: b\r\n content-length: 14\r\n\r\n",
    ],
)
def test_a_head_whose_length_is_not_its_own_line_is_not_remembered(head):
    assert KnownHead.of(head + BODY, BODY, {"headers": [(b"host", b"x")]}) is None


@given(
    st.lists(st.tuples(st.sampled_from([b"x-a", b"x-b", b"accept"]), st.binary(max_size=6)), max_size=4),
    st.binary(min_size=10, max_size=99),
    st.binary(min_size=10, max_size=99),
    st.integers(0, 200),
    st.binary(min_size=1, max_size=2),
)
def test_what_is_known_is_what_the_parser_would_have_read(headers, first, second, at, noise):
    """Also when bytes in the head are others than before."""
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    head = HEAD.replace(b"x-a: b\r\n", lines.replace(b"%", b""))
    data = request(first, head)
    try:
        parsed = Parsed(data)
    except httptools.HttpParserError:
        return
    found = KnownHead.of(data, parsed.body, {"headers": parsed.headers})
    later = request(second, head)
    later = later[:at] + noise + later[at + len(noise) :]
    if found is None or (body := found.body_of(later)) is None:
        return
    again = Parsed(later)
    assert (again.url, again.body, again.ended) == (parsed.url, body, 1)
    found.tell_length(body)
    assert found.scope["headers"] == again.headers
