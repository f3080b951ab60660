"""Engines that break: no silent truncation, no seat that stays taken."""

from __future__ import annotations

import asyncio
import socket

import openai
import pytest

from gateway.relay import RelayOptions
from gateway.settings import Settings
from tests.fakes.engine import engine_process
from tests.fakes.faulty import CHUNKED_HEAD, answer, chunk, faulty_engine, says
from tests.fakes.faulty_gateway import (
    BODY,
    BUSY,
    CAST,
    EVENT,
    GOOD,
    SECRET,
    STREAM,
    WHOLE,
    end_patience,
    gateway,
    in_flight,
    most_asked,
    post,
    read_raw,
    send_raw,
    slowly,
)
from tests.fakes.gateway import MODEL, POOL, running_gateway
from tests.fakes.waiting import until


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
async def test_a_request_whose_engine_is_dead_is_answered_by_another(body):
    good = WHOLE if body is BODY else GOOD
    async with gateway(says(then="close"), says(good)) as (served, _):
        answers = [await post(served, body) for _ in range(4)]
        records = await served.settled(4)
    assert {each.status_code for each in answers} == {200}
    assert {record.outcome for record in records} == {"ok"}
    assert {record.backend for record in records} == {"gpu-1"}
    again = [record for record in records if record.attempt > 1]
    assert {record.attempt for record in again} == {2}
    assert all(record.dispatched_at > record.accepted_at for record in again), (
        "when it was sent the last time"
    )


async def test_an_engine_that_is_not_there_is_a_502_with_a_record_when_patience_ends():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with running_gateway(CAST.policy(), CAST.callers(), {"gpu-0": url}) as served:
            asking = asyncio.create_task(post(served, STREAM))
            await until(lambda: not served.dispatcher.serves(POOL, MODEL))
            end_patience(served)
            refused = await asking
            records = await served.settled(1)
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "connect_fail")
    assert (records[0].outcome, records[0].cost) == ("connect_fail", 0)


async def test_an_engine_that_is_not_there_is_not_asked_first_by_every_request():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with faulty_engine(says(GOOD)) as good:
            urls = {"gpu-0": nobody, "gpu-1": f"http://127.0.0.1:{good.port}"}
            async with running_gateway(CAST.policy(tuple(urls)), CAST.callers(), urls) as served:
                answers = [await post(served, STREAM) for _ in range(6)]
                records = await served.settled(6)
    assert {each.status_code for each in answers} == {200}
    most = most_asked(records[-1].ended_at - records[0].accepted_at)
    assert 1 <= [record.attempt for record in records].count(2) <= most, "then its circuit is open"


async def test_a_request_that_breaks_two_engines_is_not_given_a_third():
    dying = says(then="close")
    async with gateway(dying, dying, dying) as (served, engines):
        refused = await post(served, BODY)
        records = await served.settled(1)
    assert refused.status_code == 502
    assert sum(len(engine.asked) for engine in engines) == 2
    assert records[0].attempt == 2


@pytest.mark.parametrize(
    ("end", "headers"),
    [("reset", []), ("close", []), ("eof", []), ("reset", ["connection: close"])],
    ids=["reset", "close", "eof", "its client closes anyway"],
)
async def test_an_engine_that_dies_mid_stream_is_never_a_clean_end(end, headers, caplog):
    if end == "eof":
        script = says(CHUNKED_HEAD + chunk(EVENT) + b"0\r\n\r\n")
    else:
        script = says(CHUNKED_HEAD + chunk(EVENT), then=end)
    async with gateway(script) as (served, _):
        data = await read_raw(served, STREAM, *headers)
        records = await served.settled(1)
        await until(lambda: in_flight(served) == 0)
    assert EVENT in data
    assert b'data: {"error":{"message":' in data
    assert not data.endswith(b"0\r\n\r\n")
    assert b"connection: close" not in data.lower()
    assert (records[0].outcome, records[0].status) == ("upstream_reset", 200)
    assert records[0].estimated
    assert records[0].cost > 0
    assert "ASGI callable" not in caplog.text, "the server must not take it for a bug"


async def test_the_openai_sdk_raises_when_the_engine_dies_mid_stream(caplog):
    async with (
        gateway(says(CHUNKED_HEAD + chunk(EVENT), then="reset")) as (served, _),
        openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=SECRET, max_retries=0) as client,
    ):
        answers = await client.chat.completions.create(**STREAM)
        with pytest.raises(openai.APIError):
            async for _ in answers:
                pass
    assert "Traceback" not in caplog.text


async def test_an_engine_killed_mid_stream_frees_its_seat():
    async with (
        engine_process("--model", MODEL, "--time-scale", "0.1") as engine,
        running_gateway(CAST.policy(), CAST.callers(), {"gpu-0": engine.url}) as served,
    ):
        reader, writer = await send_raw(served, {**STREAM, "max_tokens": 1000})
        await reader.readuntil(b"data: ")
        engine.kill()
        async with asyncio.timeout(5):
            rest = await reader.read()
        writer.close()
        records = await served.settled(1)
        await until(lambda: in_flight(served) == 0)
    assert not rest.endswith(b"0\r\n\r\n")
    assert records[0].outcome == "upstream_reset"


async def test_a_whole_answer_that_breaks_in_the_middle_is_a_502():
    half = WHOLE[:-10]
    async with gateway(says(half, then="close")) as (served, _):
        refused = await post(served, BODY)
        records = await served.settled(1)
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "upstream_reset")
    assert records[0].outcome == "upstream_reset"


async def test_a_busy_engine_is_asked_again_and_the_client_never_knows():
    async with gateway((says(BUSY, BUSY, then="close"), says(GOOD))) as (served, engines):
        answered = await post(served, STREAM)
        records = await served.settled(1)
    assert answered.status_code == 200
    assert len(engines[0].asked) >= 2
    assert (records[0].outcome, records[0].attempt) == ("ok", len(engines[0].asked))


async def test_an_engine_that_stays_busy_is_given_up_at_the_deadline():
    settings = Settings(queue_timeout_s=0.4)
    async with gateway(says(BUSY), settings=settings) as (served, _):
        refused = await post(served, BODY)
        records = await served.settled(1)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_timeout")
    assert (records[0].outcome, records[0].cost) == ("queue_timeout", 0)


async def test_what_an_engine_says_of_a_bad_request_reaches_the_client():
    body = b'{"error":{"message":"too many tokens","type":"x","param":null,"code":400}}'
    async with gateway(says(answer(body, "400 Bad Request"))) as (served, _):
        refused = await post(served, STREAM)
        records = await served.settled(1)
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "too many tokens")
    assert (records[0].outcome, records[0].status, records[0].cost) == ("upstream_4xx", 400, 0)


async def test_an_engine_that_rejects_the_gateway_is_no_fault_of_the_clients():
    async with gateway(says(answer(b'{"error":"bad key"}', "401 Unauthorized"))) as (served, _):
        refused = await post(served, BODY)
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "upstream_4xx")


async def test_a_silent_engine_is_a_504():
    options = RelayOptions(first_byte_s=0.1)
    async with gateway(says(then="stall"), relay=options) as (served, _):
        refused = await post(served, BODY)
        await until(lambda: in_flight(served) == 0)
    assert (refused.status_code, refused.json()["error"]["code"]) == (504, "upstream_timeout_ttft")


async def test_an_error_the_engine_told_in_its_stream_is_told_once():
    error = b'data: {"error":{"message":"out of memory","type":"x","param":null,"code":500}}\n\n'
    async with gateway(slowly(CHUNKED_HEAD + chunk(EVENT), chunk(error) + b"0\r\n\r\n")) as (served, _):
        data = await read_raw(served, STREAM)
        records = await served.settled(1)
    assert data.count(b'"error"') == 1
    assert not data.endswith(b"0\r\n\r\n")
    assert records[0].outcome == "upstream_5xx"


async def test_a_stream_that_breaks_inside_an_event_gets_no_words_after_the_half():
    async with gateway(says(CHUNKED_HEAD + chunk(EVENT) + chunk(EVENT[:40]), then="reset")) as (served, _):
        data = await read_raw(served, STREAM)
    assert b'"error"' not in data
    assert not data.endswith(b"0\r\n\r\n")


async def test_the_first_token_of_an_answer_that_nobody_saw_is_not_the_requests_first():
    broken = chunk(EVENT + b'data: {"error":{"message":"lost the GPU"}}\n\n')
    async with gateway(says(CHUNKED_HEAD + broken), says(GOOD)) as (served, _):
        answered = await post(served, STREAM)
        records = await served.settled(1)
    assert answered.text.count("hi") == 1
    assert (records[0].outcome, records[0].attempt) == ("ok", 2)
    assert records[0].first_token_at >= records[0].dispatched_at
