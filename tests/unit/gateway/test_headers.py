"""Heads that are made by a shorter way than others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.head_lines import (
    answer_lines,
    begin_lines,
    headers_of,
    lines_of,
    model_line,
    stream_lines,
    type_line,
)
from gateway.headers import RequestId, made_at, quota_headers, scheduling_headers, stream_headers
from scheduling.core.policy import MINUTE_KINDS
from scheduling.core.quota import Quotas, Scope

LIMITS = st.dictionaries(st.sampled_from(MINUTE_KINDS), st.integers(1, 10**9))
VALUE = st.binary(max_size=20).filter(lambda value: not {*value} & {*b"\r\n"})
SMUGGLED = ("json\r\nx-other: 1", "json\rx-other: 1", "json\nx-other: 1", "json\n")


@given(LIMITS, LIMITS, st.integers(0, 10**6), st.sampled_from(["batch", "100%d"]))
def test_lines_say_of_the_quotas_of_a_minute_what_headers_say(first, second, tokens, name) -> None:
    quotas = Quotas()
    holders = quotas.holders([Scope(("tenant", "a"), first), Scope(("api_token", "7"), second)])
    for _ in range(2):
        granted = quotas.reserve(holders, (tokens, 0), 0, 10**9, None)
        left = granted.left

        assert left.keys() == first.keys() | second.keys()
        told = headers_of(begin_lines(name, 7, 3, 4)) + quota_headers(left)
        assert sorted(headers_of(answer_lines((name, 7, 3, 4), granted))) == sorted(told)
        for kind, found in left.items():
            assert set(quota_headers({kind: found})[:3]) <= set(quota_headers(left))


def test_who_has_no_quotas_is_told_of_none() -> None:
    quotas = Quotas()
    granted = quotas.reserve(quotas.holders([]), (1, 0), 0, 10**9, None)
    assert answer_lines(("batch", 7, 3, 4), granted) == begin_lines("batch", 7, 3, 4)


@given(st.lists(st.tuples(st.sampled_from([b"x-a", b"x-b"]), VALUE)))
def test_lines_are_the_headers_they_were_made_of(headers) -> None:
    assert headers_of(lines_of(headers)) == headers


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.sampled_from(["", "trace-1"]))
def test_the_lines_of_a_request_say_what_its_headers_say(queue_ms, upstream_ms, clients) -> None:
    lines = begin_lines("batch", 7, queue_ms, upstream_ms)
    assert headers_of(lines) == [
        *scheduling_headers("batch", 7),
        (b"x-queue-ms", b"%d" % queue_ms),
        (b"openai-processing-ms", b"%d" % (queue_ms + upstream_ms)),
        (b"server-timing", b"queue;dur=%d, upstream;dur=%d" % (queue_ms, upstream_ms)),
    ]
    request_id = RequestId.of({b"x-request-id": clients.encode()})
    assert headers_of(request_id.lines().encode()) == request_id.headers()
    assert headers_of(stream_lines(b"text/event-stream")) == stream_headers(b"text/event-stream")


@pytest.mark.parametrize("value", SMUGGLED)
def test_no_value_that_comes_from_elsewhere_can_smuggle_a_header(value) -> None:
    for _ in range(2):  # it is not remembered either
        for make in (type_line, stream_lines):
            with pytest.raises(ValueError, match="line break"):
                make(value.encode())
        with pytest.raises(ValueError, match="line break"):
            model_line(value)
        with pytest.raises(ValueError, match="line break"):
            begin_lines(value, 1, 0, 0)
        with pytest.raises(ValueError, match="line break"):
            lines_of([(b"x-a", value.encode())])
        assert RequestId.of({b"x-request-id": value.encode()}).clients == ""


@pytest.mark.parametrize("steps_s", [(0.0002, 0.0004, 0.0005, 1.0), (-0.0001, -3600.0, 3600.0)])
def test_an_id_tells_its_millisecond_whichever_way_the_clock_goes(monkeypatch, steps_s) -> None:
    now_s = 1_700_000_000.0005
    for step_s in (0.0, *steps_s):
        now_s += step_s
        monkeypatch.setattr("gateway.headers.time", lambda now_s=now_s: now_s)
        assert made_at(RequestId.of({}).own) == int(now_s * 1000) / 1000
