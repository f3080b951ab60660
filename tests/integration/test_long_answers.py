"""Answers that trickle for longer than an answer may: ended, told, recorded, and the seat is free."""

from __future__ import annotations

import time

import pytest

from config.data_plane import relay_options
from config.knobs import read_all
from gateway.models import UsageRecord
from gateway.records import Record, store
from gateway.relay import RelayOptions
from tests.fakes.faulty import CHUNKED_HEAD, LAST_CHUNK, chunk
from tests.fakes.faulty_gateway import (
    BODY,
    CHAT,
    EVENT,
    FINISH,
    STREAM,
    gateway,
    in_flight,
    post,
    read_raw,
    slowly,
)
from tests.fakes.gateway import MODEL
from tests.fakes.waiting import until

LIMIT_S = 0.3
BRIEF = RelayOptions(first_byte_s=5.0, stall_s=5.0, answer_s=LIMIT_S)
JSON_HEAD = CHUNKED_HEAD.replace(b"text/event-stream", b"application/json")
TOO_LONG = "upstream_timeout_total"


async def test_a_stream_that_trickles_for_too_long_ends_with_an_error_and_frees_its_seat():
    async with gateway(slowly(CHUNKED_HEAD, *[chunk(EVENT)] * 100), relay=BRIEF) as (served, _):
        data = await read_raw(served, STREAM)
        (record,) = await served.settled()
        await until(lambda: in_flight(served) == 0)
        counted = served.gateway.books.metrics.requests
    assert b"upstream_timeout_total" in data.splitlines()[-3]
    assert data.count(b'"error"') == 1
    assert not data.endswith(LAST_CHUNK)
    assert (record.outcome, record.status, record.attempt) == (TOO_LONG, 200, 1)
    assert 2 <= record.completion_tokens < 50
    assert LIMIT_S <= record.ended_at - record.dispatched_at < LIMIT_S * 4
    assert counted == {(MODEL, "standard", TOO_LONG): 1}


async def test_a_whole_answer_that_trickles_for_too_long_is_a_504_that_no_retry_can_help():
    async with gateway(slowly(JSON_HEAD, *[chunk(b" ")] * 100), relay=BRIEF) as (served, _):
        answer = await post(served, BODY)
        (record,) = await served.settled()
        await until(lambda: in_flight(served) == 0)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], answer.headers["x-should-retry"]) == (504, TOO_LONG, "false")
    assert "longer" in error["message"]
    assert (record.outcome, record.status, record.attempt) == (TOO_LONG, 504, 1)


async def test_a_stream_that_has_said_all_is_whole_when_its_connection_lingers():
    script = slowly(CHUNKED_HEAD, chunk(EVENT + FINISH), *[b""] * 100)
    async with gateway(script, relay=BRIEF) as (served, _):
        answer = await post(served, STREAM)
        (record,) = await served.settled()
    assert answer.text.endswith("data: [DONE]\n\n")
    assert record.outcome == "ok"


async def test_an_answer_within_its_time_or_without_one_is_left_alone():
    parts = [CHUNKED_HEAD, *[chunk(EVENT)] * 10, chunk(FINISH), LAST_CHUNK]
    for options in (RelayOptions(stall_s=0.4, answer_s=5.0), RelayOptions(stall_s=0.4, answer_s=0.0)):
        async with gateway(slowly(*parts), relay=options) as (served, _):
            answer = await post(served, STREAM)
        assert answer.text.count("hi") == 10


def test_an_admin_may_set_the_time_or_take_it_away():
    assert relay_options(read_all({})).answer_s == RelayOptions().answer_s == 3600
    assert relay_options(read_all({"FAIRLANE_ANSWER_TIMEOUT_S": "0"})).answer_s == 0


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_the_records_know_such_an_end():
    now_s = time.time()
    store([Record("a", now_s, "research", MODEL, "standard", CHAT, True, ended_at=now_s, outcome=TOO_LONG)])
    assert UsageRecord.objects.get().outcome == TOO_LONG
