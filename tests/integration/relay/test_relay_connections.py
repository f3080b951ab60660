"""Connections to engines: kept, replaced, closed at once, and never ahead of their reader."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.failures import Broken, Stopping
from gateway.relay import EngineCall
from tests.fakes.faulty import CHUNKED_HEAD, LAST_CHUNK, Peer, answer, chunk, faulty_engine, says, stream
from tests.fakes.relay_client import BRIEF_S, DONE, JSON, PATIENT, PLAIN, STREAM, TEXT, Client, relay_client
from tests.fakes.waiting import until


async def test_a_connection_is_used_again(client: Client) -> None:
    async with faulty_engine(says(stream(TEXT, DONE))) as engine:
        client.use(engine)
        for _ in range(5):
            await client.call()

    assert engine.connections == 1
    assert len(engine.asked) == 5


async def test_a_kept_connection_that_dies_under_us_is_replaced_once(client: Client) -> None:
    async def dies_on_second_use(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(JSON))
        await peer.request()

    async with faulty_engine(dies_on_second_use, says(answer(JSON))) as engine:
        client.use(engine)
        await client.call(PLAIN)
        await client.call(PLAIN)

    assert client.got == JSON * 2
    assert engine.connections == 2
    assert len(engine.asked) == 3


async def test_an_engine_is_not_asked_again_by_a_relay_that_is_closed(client: Client) -> None:
    async def is_silent_on_second_use(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(JSON))
        await peer.request()
        await peer.closed()

    async with faulty_engine(is_silent_on_second_use, says(answer(JSON))) as engine, asyncio.timeout(5):
        client.use(engine)
        await client.call(PLAIN)
        second = asyncio.create_task(client.failure(PLAIN))
        await until(lambda: len(engine.asked) == 2)
        await client.relay.close()
        failure = await second
        assert isinstance(failure, Stopping)
        assert not failure.counts
        assert engine.connections == 1


async def test_an_engine_is_not_asked_by_a_relay_that_is_closed_while_it_connects(client: Client) -> None:
    async with faulty_engine(says(answer(JSON))) as engine, asyncio.timeout(5):
        client.use(engine)
        asking = asyncio.create_task(client.failure(PLAIN))
        await asyncio.sleep(0)
        await client.relay.close()
        assert isinstance(await asking, Stopping)
        assert engine.asked == []


async def test_a_fresh_connection_that_dies_is_not_replaced(client: Client) -> None:
    async def dies(peer: Peer) -> None:
        await peer.request()

    async with faulty_engine(dies) as engine:
        client.use(engine)
        failure = await client.failure()

    assert isinstance(failure, Broken)
    assert failure.retryable
    assert engine.connections == 1


async def test_an_old_connection_is_not_used_again(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.connection.MAX_AGE_S", 0.0)
    async with faulty_engine(says(answer(JSON))) as engine:
        client.use(engine)
        await client.call(PLAIN)
        await until(lambda: not engine.tasks)
        await client.call(PLAIN)

    assert engine.connections == 2


async def test_a_connection_that_grows_old_in_an_exchange_ends_it_and_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def slowly(peer: Peer) -> None:
        while True:
            await peer.request()
            await asyncio.sleep(0.05)
            await peer.send(answer(JSON))

    monkeypatch.setattr("gateway.connection.MAX_AGE_S", 0.02)
    monkeypatch.setattr("gateway.watch.MAX_EVERY_S", 0.01)
    async with relay_client() as client, faulty_engine(slowly) as engine:
        client.use(engine)
        await client.call(PLAIN)
        await client.call(PLAIN)

    assert client.got == JSON * 2
    assert engine.connections == 2


async def test_a_second_answer_nobody_asked_for_ends_the_connection(client: Client) -> None:
    async with faulty_engine(says(answer(JSON) + answer(b"{}"))) as engine:
        client.use(engine)
        await client.call(PLAIN)
        await client.call(PLAIN)

    assert client.got == JSON * 2
    assert engine.connections == 2


async def test_a_changed_address_is_used_from_the_next_request_on(client: Client) -> None:
    async with faulty_engine(says(stream(TEXT, DONE))) as old, faulty_engine(says(stream(TEXT, DONE))) as new:
        client.use(old)
        async with client.open() as reply:
            client.use(new)
            client.got = b"".join([data async for data in reply])
        await client.call()

    assert client.got == (TEXT + DONE) * 2
    assert (len(old.asked), len(new.asked)) == (1, 1)


async def test_leaving_early_closes_the_engines_connection_at_once(client: Client) -> None:
    left_after_s = []

    async def writes_on(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD, chunk(TEXT))
        await peer.closed()
        left_after_s.append(time.monotonic())

    async with faulty_engine(writes_on) as engine:
        client.use(engine)
        async with client.open() as reply:
            assert await anext(aiter(reply)) == TEXT
        left = time.monotonic()
        async with asyncio.timeout(1):
            while not left_after_s:
                await asyncio.sleep(0.001)

    assert left_after_s[0] - left < 0.1
    assert client.usage.completion_tokens == 1
    assert client.usage.estimated


@pytest.mark.parametrize("call", [STREAM, PLAIN], ids=["stream", "plain"])
async def test_a_cancelled_wait_closes_the_engines_connection_at_once(
    client: Client, call: EngineCall
) -> None:
    seen = asyncio.Event()
    gone = asyncio.Event()

    async def thinks(peer: Peer) -> None:
        await peer.request()
        seen.set()
        await peer.closed()
        gone.set()

    async with faulty_engine(thinks) as engine:
        client.use(engine)
        waiting = asyncio.create_task(client.call(call))
        await seen.wait()
        waiting.cancel()
        async with asyncio.timeout(0.1):
            await gone.wait()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_a_slow_reader_makes_the_engine_wait_and_is_not_taken_for_its_silence() -> None:
    sent = 0
    piece = chunk(b"data: " + b"x" * 16000 + b"\n\n")

    async def floods(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        peer.writer.write(CHUNKED_HEAD + chunk(TEXT))
        for _ in range(1500):
            peer.writer.write(piece)
            await peer.writer.drain()
            sent += len(piece)
        await peer.send(chunk(DONE), LAST_CHUNK)

    async with relay_client(stall_s=BRIEF_S) as client, faulty_engine(floods) as engine:
        client.use(engine)
        async with client.open() as reply:
            stream_of = aiter(reply)
            await anext(stream_of)
            await asyncio.sleep(2 * BRIEF_S)
            held_back_at = sent
            unread = reply._unread
            async for data in stream_of:
                client.got += data[-20:]

    assert held_back_at < 0.6 * 1500 * len(piece)
    assert unread <= PATIENT.unread_bytes + 256 * 1024
    assert sent == 1500 * len(piece)
    assert client.got.endswith(DONE)
