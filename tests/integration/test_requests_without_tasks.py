"""Requests that wait for nothing but their engine: they need no task, and end as any other does."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
import weakref
from contextlib import asynccontextmanager

import pytest

from gateway.relay import RelayOptions
from tests.fakes.faulty import CHUNKED_HEAD, LAST_CHUNK, chunk, says
from tests.fakes.faulty_gateway import (
    BODY,
    EVENT,
    FINISH,
    GOOD,
    STREAM,
    WHOLE,
    gateway,
    in_flight,
    post,
    queued,
    send_raw,
)
from tests.fakes.waiting import until

never = says(then="stall")


def after_one(script):
    """An engine that answers once, so that its connection is kept, and then follows the script on it."""

    async def both(peer):
        await peer.request()
        await peer.send(WHOLE)
        await script(peer)

    return both


@asynccontextmanager
async def warm(script, *scripts, **options):
    """A gateway with a kept connection to its engine."""
    async with gateway((after_one(script), *scripts), **options) as (served, (engine,)):
        assert (await post(served, BODY)).status_code == 200
        yield served, engine


async def taskless(served, engine):
    """The client of the second request, once its engine has heard of it."""
    await until(lambda: len(engine.asked) == 2)
    (client,) = served.gateway.pulse.clients
    assert client.work is None
    return client


async def ended(served):
    record = (await served.settled(2))[1]
    assert len(served.records) == 2
    assert in_flight(served) == 0
    assert not served.gateway.pulse.clients
    assert not served.server.server_state.tasks
    return record


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
async def test_a_client_that_leaves_before_its_answer_frees_the_engine(body):
    async with warm(never) as (served, engine):
        _, writer = await send_raw(served, body)
        await taskless(served, engine)
        writer.transport.abort()
        record = await ended(served)
        await until(lambda: not engine.tasks)
    assert (record.outcome, record.status) == ("client_gone_streaming", 499)
    assert record.cost > 0


async def test_a_client_that_leaves_in_the_middle_of_its_stream_frees_the_engine():
    async with warm(says(CHUNKED_HEAD, chunk(EVENT), then="stall")) as (served, engine):
        reader, writer = await send_raw(served, STREAM)
        await reader.readuntil(EVENT)
        await taskless(served, engine)
        writer.transport.abort()
        record = await ended(served)
        await until(lambda: not engine.tasks)
    assert (record.outcome, record.status) == ("client_gone_streaming", 499)


async def test_what_a_drain_cuts_off_is_told_so():
    async with warm(never) as (served, engine):
        answer = asyncio.create_task(post(served, BODY))
        await taskless(served, engine)
        assert await served.gateway.drain(0) == 1
        told = await answer
        record = await ended(served)
        await until(lambda: not engine.tasks)
    assert (told.status_code, told.json()["error"]["code"]) == (503, "draining")
    assert (record.outcome, record.status) == ("draining", 503)


async def test_what_its_owner_cancels_is_told_so():
    async with warm(never) as (served, engine):
        answer = asyncio.create_task(post(served, BODY))
        client = await taskless(served, engine)
        pulse = served.gateway.pulse
        assert pulse.cancel(client.record)
        assert not pulse.cancel(client.record)
        told = await answer
        record = await ended(served)
        await until(lambda: not engine.tasks)
    assert (told.json()["error"]["code"], record.outcome) == ("cancelled", "cancelled_client")


async def test_a_server_that_stops_cancels_it_like_a_task():
    async with warm(never) as (served, engine):
        _, writer = await send_raw(served, BODY)
        await taskless(served, engine)
        for task in tuple(served.server.server_state.tasks):
            task.cancel(msg="timeout graceful shutdown exceeded")
        record = await ended(served)
        writer.close()
    assert (record.outcome, record.status) == ("draining", 503)


async def test_a_kept_connection_that_breaks_is_asked_anew_by_another():
    async def closes(peer):
        await peer.request()

    async with warm(closes, says(WHOLE)) as (served, engine):
        told = await post(served, BODY)
        record = await ended(served)
    assert told.status_code == 200
    assert (engine.connections, record.outcome, record.attempt) == (2, "ok", 1)


@pytest.mark.parametrize("cut", [20, WHOLE.index(b"{"), len(WHOLE) - 1], ids=["head", "body", "last byte"])
async def test_an_answer_in_two_pieces_is_one_answer(cut):
    async def in_pieces(peer):
        await peer.request()
        await peer.send(WHOLE[:cut])
        await asyncio.sleep(0.02)
        await peer.send(WHOLE[cut:])
        await peer.closed()

    async with warm(in_pieces) as (served, engine):
        answer = asyncio.create_task(post(served, BODY))
        await taskless(served, engine)
        told = await answer
        record = await ended(served)
    assert told.content == WHOLE[WHOLE.index(b"{") :]
    assert (record.outcome, record.prompt_tokens, record.estimated) == ("ok", 3, False)


async def test_an_engine_that_never_begins_is_given_up_and_another_time_asked():
    patience = RelayOptions(first_byte_s=0.1)
    async with warm(never, never, relay=patience) as (served, engine):
        answer = asyncio.create_task(post(served, BODY))
        await taskless(served, engine)
        told = await answer
        record = await ended(served)
    assert told.status_code == 504
    assert (record.outcome, record.attempt) == ("upstream_timeout_ttft", 2)


async def test_a_stream_needs_no_task_to_its_end():
    async def slowly(peer):
        await peer.request()
        for part in (CHUNKED_HEAD, chunk(EVENT), chunk(EVENT), chunk(FINISH), LAST_CHUNK):
            await peer.send(part)
            await asyncio.sleep(0.01)
        await peer.closed()

    async with warm(slowly) as (served, engine):
        answer = asyncio.create_task(post(served, STREAM))
        client = await taskless(served, engine)
        told = await answer
        record = await ended(served)
    assert client.work is None
    assert told.content == EVENT + EVENT + FINISH
    assert (record.outcome, record.completion_tokens) == ("ok", 3)


async def test_a_refusal_needs_no_task():
    async with warm(never) as (served, _):
        refused = await post(served, {**BODY, "model": "unheard-of"})
        assert not served.server.server_state.tasks
    assert refused.status_code == 404
    assert len(served.records) == 1


@asynccontextmanager
async def in_line(*scripts):
    """A gateway with one seat, which is held, and one request in line, without a task."""
    async with gateway((after_one(never), *scripts), max_in_flight=1) as (served, (engine,)):
        await post(served, BODY)
        _, holder = await send_raw(served, BODY)
        first = await taskless(served, engine)
        reader, writer = await send_raw(served, STREAM)
        await until(lambda: queued(served) == 1)
        (second,) = served.gateway.pulse.clients - {first}
        assert second.work is None
        yield served, second, holder, (reader, writer)
        writer.close()
        holder.close()


async def test_one_that_stands_in_line_needs_no_task_and_is_served():
    async with in_line(says(GOOD)) as (served, _, holder, (reader, _writer)):
        holder.transport.abort()
        await reader.readuntil(b"data: [DONE]\n\n")
        records = await served.settled(3)
    assert [record.outcome for record in records] == ["ok", "client_gone_streaming", "ok"]


async def test_one_that_leaves_the_line_is_not_served():
    async with in_line() as (served, _, _holder, (_reader, writer)):
        writer.transport.abort()
        records = await served.settled(2)
        assert queued(served) == 0
        assert in_flight(served) == 1
    assert records[1].outcome == "client_gone_queued"


async def test_one_in_line_that_its_owner_cancels_is_told_so():
    async with in_line() as (served, client, _holder, (reader, _writer)):
        assert served.gateway.pulse.cancel(client.record)
        told = await reader.readuntil(b"}}")
        records = await served.settled(2)
        assert in_flight(served) == 1
    assert b'"code":"cancelled"' in told
    assert records[1].outcome == "cancelled_client"


async def test_one_whose_time_in_line_is_over_is_told_so():
    async with gateway((after_one(never),), max_in_flight=1) as (served, (engine,)):
        await post(served, BODY)
        _, holder = await send_raw(served, BODY)
        await taskless(served, engine)
        late = await post(served, {**BODY, "timeout_ms": 60})
        records = await served.settled(2)
        holder.close()
    assert (late.status_code, late.json()["error"]["code"]) == (503, "queue_timeout")
    assert records[1].outcome == "queue_timeout"


@pytest.mark.parametrize(("body", "answer"), [(BODY, WHOLE), (STREAM, GOOD)], ids=["whole", "stream"])
async def test_a_request_leaves_nothing_for_the_garbage_collector(body, answer):
    async def slowly(peer):
        while True:
            await peer.request()
            await asyncio.sleep(0.02)
            await peer.send(answer)

    async with warm(slowly) as (served, engine):
        gc.collect()
        gc.disable()
        try:
            reader, writer = await send_raw(served, body)
            client = weakref.ref(await taskless(served, engine))
            await reader.readuntil(answer[-5:])
            writer.close()
            await until(lambda: client() is None)
        finally:
            gc.enable()


@pytest.mark.parametrize("size", [50_000, 4_000_000], ids=["read at once", "read in parts"])
async def test_a_request_in_line_holds_its_prompt_once(size):
    prompt = {**BODY, "messages": [{"role": "user", "content": "x" * size}]}
    async with gateway(never, max_in_flight=1) as (served, _):
        _, first = await send_raw(served, BODY)
        await until(lambda: in_flight(served) == 1)
        gc.collect()
        tracemalloc.start()
        try:
            _, writer = await send_raw(served, prompt)
            await writer.drain()
            await until(lambda: queued(served) == 1)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        for each in (first, writer):
            each.transport.abort()
        await served.settled(2)
    assert size < held < 1.6 * size + 50_000
