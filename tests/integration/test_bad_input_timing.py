"""Clients that stall, connect and say nothing, or send more than they may: bounded in time and memory."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from time import monotonic

import pytest

from config.protocol import LINGER_S
from gateway.settings import Settings
from tests.fakes.bad_input import (
    CHAT,
    GOOD,
    HEAD_BOUNDS,
    PATIENCE_S,
    SETTINGS,
    assert_nothing_is_held,
    connect,
    raw,
    read_answer,
    say,
    strict_gateway,
)
from tests.fakes.faulty import CHUNKED_HEAD, chunk, says
from tests.fakes.waiting import until

MIB = 1024 * 1024
LATE_S = PATIENCE_S + 1.0
HALF_A_HEAD = CHAT + b"\r\nhost: x\r\nx-a"
HALF_A_BODY = raw(CHAT, b"content-length: 100", length=False, body=b"{")


async def test_a_connection_that_says_nothing_is_closed_without_a_word() -> None:
    async with strict_gateway() as served:
        reader, writer = await connect(served)
        began = monotonic()
        assert await reader.read() == b""
        assert PATIENCE_S * 0.9 < monotonic() - began < LATE_S
        writer.close()
        await assert_nothing_is_held(served)


@pytest.mark.parametrize("before", [b"", raw()], ids=["first request", "after another"])
async def test_headers_that_stall_or_drip_are_a_408_and_the_end_of_the_connection(before) -> None:
    async with strict_gateway() as served:
        reader, writer = await connect(served)
        if before:
            writer.write(before)
            assert (await read_answer(reader)).status == 200
        began = monotonic()
        writer.write(HALF_A_HEAD)
        dripping = asyncio.create_task(drip(writer, b"x"))
        answer = await read_answer(reader)
        took_s = monotonic() - began
        dripping.cancel()
        with suppress(ConnectionResetError):  # what still dripped may be answered so
            assert await reader.read() == b""
        writer.close()
        await assert_nothing_is_held(served)
    assert (answer.status, answer.error["code"]) == (408, "headers_timeout")
    assert PATIENCE_S * 0.9 < took_s < LATE_S


async def test_a_connection_that_is_kept_open_has_no_deadline_between_two_requests() -> None:
    async with strict_gateway() as served:
        reader, writer = await connect(served)
        for _ in range(2):
            writer.write(raw())
            assert (await read_answer(reader)).status == 200
            await asyncio.sleep(PATIENCE_S * 1.5)
        assert not reader.at_eof()
        writer.close()


async def test_a_body_that_stalls_or_drips_is_a_408() -> None:
    async with strict_gateway() as served:
        reader, writer = await connect(served)
        began = monotonic()
        writer.write(HALF_A_BODY)
        dripping = asyncio.create_task(drip(writer, b" "))
        answer = await read_answer(reader)
        took_s = monotonic() - began
        dripping.cancel()
        writer.close()
        await assert_nothing_is_held(served)
    assert (answer.status, answer.error["code"]) == (408, "body_timeout")
    assert PATIENCE_S * 0.9 < took_s < LATE_S


async def test_a_refused_body_is_not_read_for_ever(monkeypatch) -> None:
    monkeypatch.setattr("config.protocol.LINGER_S", 0.2)
    assert LINGER_S > 1, "an answer must have the time to arrive"
    async with strict_gateway() as served:
        reader, writer = await connect(served)
        writer.write(raw(CHAT, b"content-length: 99999999", length=False, body=b"x"))
        assert (await read_answer(reader)).status == 413
        dripping = asyncio.create_task(drip(writer, b" "))
        async with asyncio.timeout(LATE_S):
            assert await reader.read() == b""
        dripping.cancel()
        writer.close()
        await assert_nothing_is_held(served)


async def test_a_reader_that_stalls_is_cut_off_and_holds_neither_seat_nor_memory() -> None:
    flood = CHUNKED_HEAD + chunk(b": " + b"x" * 65536 + b"\n\n") * 400
    body = json.dumps({**GOOD, "stream": True}).encode()
    async with strict_gateway(says(flood, then="stall")) as served:
        _, writer = await connect(served)
        writer.transport.pause_reading()
        writer.write(raw(body=body))
        records = await served.settled(1)
        await until(lambda: not served.server.server_state.connections)
        await assert_nothing_is_held(served)
        writer.transport.abort()
    assert (records[0].outcome, records[0].status) == ("slow_client", 499)


async def test_a_zip_bomb_takes_no_more_memory_than_the_largest_body() -> None:
    bomb = gzip.compress(b" " * 50 * MIB, 1)
    async with strict_gateway(settings=Settings(body_bytes=MIB)) as served:
        await say(served, raw())
        tracemalloc.start()
        answer = await say(served, raw(CHAT, b"content-encoding: gzip", body=bomb))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await assert_nothing_is_held(served)
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert peak < 4 * MIB


async def test_a_body_of_a_million_values_is_refused_before_it_is_read() -> None:
    wide = json.dumps({**GOOD, "x": [[]] * 1_000_000}).encode()
    texts = json.dumps({**GOOD, "x": "," * 3_000_000}).encode()
    async with strict_gateway(settings=Settings()) as served:
        refused = await say(served, raw(body=wide))
        fine = await say(served, raw(body=texts))
        await assert_nothing_is_held(served)
    assert (refused.status, refused.error["code"]) == (400, "too_complex")
    assert fine.status == 200, "commas in a text are no values"


async def test_connections_above_the_bound_are_told_so_and_those_below_go_on() -> None:
    bounds = replace(HEAD_BOUNDS, connections=2, read_s=5)
    async with strict_gateway(bounds=bounds) as served:
        idle = [await connect(served) for _ in range(2)]
        reader, third = await connect(served)
        answer = await read_answer(reader)
        idle[0][1].write(raw())
        assert (await read_answer(idle[0][0])).status == 200
        for writer in (third, *(writer for _, writer in idle)):
            writer.close()
        await assert_nothing_is_held(served)
    assert (answer.status, answer.error["code"]) == (503, "too_many_connections")


async def test_garbage_after_a_request_never_stands_in_for_its_answer() -> None:
    async with strict_gateway(says(then="stall")) as served:
        reader, writer = await connect(served)
        writer.write(raw())
        await until(lambda: any(view.in_flight for view in served.dispatcher.view()))
        writer.write(b"garbage\r\n\r\n")
        assert await all_of(reader) == b""
        writer.close()
        await assert_nothing_is_held(served)


async def test_stalled_clients_do_not_hold_up_the_others() -> None:
    bounds, settings = replace(HEAD_BOUNDS, read_s=5), replace(SETTINGS, body_read_s=5)
    async with strict_gateway(bounds=bounds, settings=settings) as served:
        stalled = [await connect(served) for _ in range(40)]
        for number, (_, writer) in enumerate(stalled):
            writer.write((b"", HALF_A_HEAD, HALF_A_BODY)[number % 3])
        began = monotonic()
        for _ in range(10):
            assert (await say(served, raw())).status == 200
        took_s = monotonic() - began
        for _, writer in stalled:
            writer.close()
        await assert_nothing_is_held(served)
    assert took_s < 1


async def drip(writer: asyncio.StreamWriter, byte: bytes) -> None:
    """A byte now and then, so that the connection is never silent."""
    while True:
        await asyncio.sleep(0.02)
        writer.write(byte)


async def all_of(reader: asyncio.StreamReader) -> bytes:
    """What came until the connection ended, whether it was closed or reset."""
    data = b""
    with suppress(ConnectionResetError):
        async with asyncio.timeout(5):
            while part := await reader.read(65536):
                data += part
    return data


async def test_a_chunk_that_comes_with_the_headers_and_is_too_large_is_refused() -> None:
    chunked = b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"
    async with strict_gateway(settings=Settings(body_bytes=1000)) as served:
        answer = await say(served, raw(CHAT, b"transfer-encoding: chunked", length=False, body=chunked))
        await assert_nothing_is_held(served)
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
