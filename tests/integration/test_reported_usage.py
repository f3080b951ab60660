"""What an engine reports of a request's tokens, and what is believed of it."""

from __future__ import annotations

import json

import pytest

from gateway.reported import BYTES_PER_TOKEN
from tests.fakes.faulty import answer, says, stream
from tests.fakes.faulty_gateway import BODY, CAST, EVENT, FINISH, STREAM, gateway, post

ASKED = {**STREAM, "stream_options": {"include_usage": True}}


def usage_event(prompt: int, completion: int) -> bytes:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    return b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"


def told(*usage_events: bytes) -> bytes:
    end, done = FINISH.split(b"data: [DONE]")
    return stream(EVENT * 4, end, *usage_events, b"data: [DONE]" + done)


async def record_of(body, reply: bytes):
    async with gateway(says(reply)) as (served, engines):
        answered = await post(served, body)
        (record,) = await served.settled(1)
    assert answered.status_code == 200
    return record, answered, json.loads(engines[0].asked[0].body)


async def test_usage_is_asked_of_every_stream_and_shown_only_to_who_asked():
    reply = told(usage_event(3, 2))
    record, answered, asked = await record_of(STREAM, reply)
    assert asked["stream_options"]["include_usage"] is True
    assert b"usage" not in answered.content
    assert (record.prompt_tokens, record.completion_tokens, record.estimated) == (3, 2, False)
    _, answered, _ = await record_of(ASKED, reply)
    assert answered.content.count(b"usage") == 1


async def test_usage_that_an_engine_tells_twice_is_counted_once():
    record, *_ = await record_of(STREAM, told(usage_event(3, 2), usage_event(3, 2)))
    assert (record.prompt_tokens, record.completion_tokens, record.cost) == (3, 2, 7)


@pytest.mark.parametrize("figures", [(10**9, 2), (3, 10**9), (-1, 2), (3, 2**63)])
async def test_absurd_usage_is_not_charged_and_the_count_is_marked_as_ours(figures):
    record, *_ = await record_of(STREAM, told(usage_event(*figures)))
    assert (record.completion_tokens, record.estimated) == (5, True)
    assert 0 < record.prompt_tokens < 100


async def test_a_stream_without_usage_is_counted_by_its_events_from_the_first_token_on():
    record, *_ = await record_of(STREAM, told())
    assert (record.completion_tokens, record.estimated) == (5, True)
    assert record.cost == record.prompt_tokens + 10


async def test_an_answer_without_usage_is_counted_by_its_length_and_marked():
    text = b'{"choices":[{"message":{"content":"some words"}}]}'
    record, *_ = await record_of(BODY, answer(text))
    assert (record.completion_tokens, record.estimated) == (len(text) // BYTES_PER_TOKEN, True)


async def test_an_answer_of_which_its_engine_counts_no_token_is_a_request_of_the_minute_all_the_same():
    nothing = answer(b'{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}}')
    one_a_minute = CAST.policy(
        quotas={"requests_per_minute": 1}, refusing=["requests_per_minute"], revision=2
    )
    async with gateway((says(nothing), says(nothing))) as (served, _):
        served.gateway.set_policy(one_a_minute)
        statuses = [(await post(served, BODY)).status_code for _ in range(2)]
        first, _ = await served.settled(2)
    assert statuses == [200, 429]
    assert (first.prompt_tokens, first.completion_tokens, first.cost) == (0, 0, 1)
