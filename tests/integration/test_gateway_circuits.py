"""Which failures count towards a backend's circuit, and what the circuit spares."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from gateway.relay import RelayOptions
from tests.fakes.faulty import CHUNKED_HEAD, answer, chunk, faulty_engine, says
from tests.fakes.faulty_gateway import (
    BODY,
    BUSY,
    CAST,
    EVENT,
    GOOD,
    STREAM,
    WHOLE,
    gateway,
    most_asked,
    post,
    read_raw,
    send_raw,
    stall_then,
)
from tests.fakes.gateway import MODEL, POOL, running_gateway
from tests.fakes.waiting import until

SERVER_ERROR = answer(b'{"error":{"message":"no GPU"}}', "500 Internal Server Error")


def told(served):
    """The backends whose failures the dispatcher hears of, and those that are only busy."""
    failed, busy = [], []
    served.dispatcher.fail = lambda backend, _lease: failed.append(backend)
    served.dispatcher.throttle = busy.append
    return failed, busy


ILL = [
    pytest.param(says(then="close"), id="closed without a word"),
    pytest.param(says(then="reset"), id="reset"),
    pytest.param(says(CHUNKED_HEAD, then="reset"), id="reset after its head"),
    pytest.param(says(SERVER_ERROR), id="500"),
    pytest.param(says(b"SSH-2.0-OpenSSH_9\r\n\r\n"), id="no HTTP"),
    pytest.param(says(answer(b"<p>hello</p>", kind="text/html")), id="a page"),
    pytest.param(stall_then(5), id="silent"),
]


@pytest.mark.parametrize("script", ILL)
async def test_an_engine_that_fails_before_it_says_anything_is_told_of(script):
    patience = RelayOptions(first_byte_s=0.2)
    async with gateway(script, says(GOOD), relay=patience) as (served, _):
        failed, busy = told(served)
        await post(served, STREAM)
    assert (failed, busy) == (["gpu-0"], [])


async def test_an_engine_that_is_not_there_is_told_of():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = {"gpu-0": f"http://127.0.0.1:{taken.getsockname()[1]}"}
        async with running_gateway(CAST.policy(), CAST.callers(), nobody) as served:
            failed, busy = told(served)
            await post(served, BODY)
    assert set(failed) == {"gpu-0"}
    assert busy == []


async def test_a_request_outlives_an_engine_that_is_started_again():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        there = {"gpu-0": f"http://127.0.0.1:{port}"}
        async with running_gateway(CAST.policy(), CAST.callers(), there) as served:
            asking = asyncio.create_task(post(served, BODY))
            await until(lambda: not served.dispatcher.serves(POOL, MODEL))
            taken.close()
            async with faulty_engine(says(WHOLE), port=port):
                assert (await asking).status_code == 200
            (record,) = await served.settled(1)
    assert record.outcome == "ok"
    assert record.attempt > 3


@pytest.mark.parametrize("busy_answer", [BUSY, answer(b"{}", "429 Too Many Requests", "retry-after: 0")])
async def test_an_engine_without_room_is_busy_and_not_ill(busy_answer):
    async with gateway((says(busy_answer, then="close"), says(WHOLE))) as (served, _):
        failed, busy = told(served)
        assert (await post(served, BODY)).status_code == 200
    assert (failed, busy) == ([], ["gpu-0"])


WELL = [
    pytest.param(says(answer(b'{"error":{"message":"too long"}}', "400 Bad Request")), BODY, id="400"),
    pytest.param(says(answer(b'{"error":{"message":"no"}}', "401 Unauthorized")), BODY, id="401"),
    pytest.param(says(answer(b'{"error":{"message":"odd"}}')), BODY, id="an error with status 200"),
    pytest.param(says(CHUNKED_HEAD + chunk(b'data: {"error":{"message":"odd"}}\n\n')), STREAM, id="in band"),
]


@pytest.mark.parametrize(("script", "body"), WELL)
async def test_an_error_that_may_be_the_requests_fault_does_not_count(script, body):
    async with gateway(script) as (served, _):
        failed, busy = told(served)
        assert (await post(served, body)).status_code >= 400
    assert (failed, busy) == ([], [])


async def test_a_break_in_the_middle_of_an_answer_does_not_count():
    async with gateway(says(CHUNKED_HEAD + chunk(EVENT), then="reset")) as (served, _):
        failed, _ = told(served)
        await read_raw(served, STREAM)
    assert failed == []


async def test_a_client_that_leaves_before_the_first_byte_does_not_count():
    async with gateway(stall_then(60)) as (served, (engine,)):
        failed, busy = told(served)
        _, writer = await send_raw(served, STREAM)
        await until(lambda: engine.asked)
        writer.close()
        records = await served.settled(1)
    assert records[0].outcome == "client_gone_streaming"
    assert (failed, busy) == ([], [])


async def test_a_request_that_two_engines_fail_on_is_held_against_the_first_only():
    async with gateway(says(SERVER_ERROR), says(SERVER_ERROR)) as (served, _):
        failed, _ = told(served)
        assert (await post(served, BODY)).status_code == 502
    assert failed == ["gpu-0"]


async def test_a_dead_backend_is_asked_rarely_while_the_other_serves_all():
    async with gateway(says(then="close"), says(WHOLE)) as (served, (dead, living)):
        began_s = time.monotonic()
        answers = [await post(served, BODY) for _ in range(60)]
        took_s = time.monotonic() - began_s
        records = await served.settled(60)
    assert {each.status_code for each in answers} == {200}
    assert {record.backend for record in records} == {"gpu-1"}
    assert 3 <= dead.connections <= most_asked(took_s)
    assert len(living.asked) == 60
