"""The simulated engine on its broken days: each failure, as a client meets it."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.fakes.chats import FAST, LONG, chat, chat_bytes, stream
from tests.fakes.engine import engine_process, running_engine
from tests.fakes.http_client import call, connection, head, read_chunks, read_head, rest_of
from tests.fakes.waiting import until


async def test_a_reset_of_the_engine_process_is_a_tcp_reset():
    async with engine_process("--time-scale", "10", "--fail", "reset_mid:3") as process:
        assert (await broken_stream(process))[1] == "reset"


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [("http_500", 500, None), ("http_429:7", 429, "7"), ("http_503", 503, "1"), ("html_error", 502, None)],
)
async def test_a_failure_before_the_first_byte(fault, status, retry_after):
    async with running_engine(failures=(fault,)) as engine:
        got, headers, body = await call(engine, "POST", "/v1/chat/completions", chat())

        assert (got, headers.get("retry-after")) == (status, retry_after)
        assert body.startswith(b"<!doctype html>" if fault == "html_error" else b'{"error"')
        assert engine.model.running == 0


async def broken_stream(engine, headers=None, **more):
    """What arrives of a stream until it breaks, and how it ended."""
    async with connection(engine) as (reader, writer):
        writer.write(chat_bytes(20, headers=headers, **more))
        await read_head(reader)
        got = b""
        try:
            while True:
                piece = await asyncio.wait_for(reader.read(65536), 0.3)
                if not piece:
                    return got, "closed"
                got += piece
                if got.endswith(b"0\r\n\r\n"):
                    return got, "ended"
        except TimeoutError:
            return got, "silent"
        except ConnectionResetError:
            return got, "reset"


@pytest.mark.parametrize(
    ("fault", "ending"),
    [("reset_mid:3", "reset"), ("cut_mid:3", "closed"), ("eof_mid:3", "ended"), ("stall_mid:3", "silent")],
)
async def test_a_failure_after_three_events(fault, ending):
    async with running_engine(failures=(fault,), **FAST) as engine:
        got, ended = await broken_stream(engine)
        await until(lambda: engine.model.running == 0)

    assert ended == ending
    assert b"[DONE]" not in got
    if ending != "reset":  # a reset may throw away what was not read yet
        assert got.count(b'"delta":{"content"') == 3


async def test_a_stall_before_the_first_byte_may_end():
    async with running_engine(**FAST) as engine, connection(engine) as (reader, writer):
        writer.write(chat_bytes(2, headers={"x-sim-fault": "stall_first:0.1"}))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.05)
        assert (await read_head(reader))[0] == 200
        assert len(await read_chunks(reader)) == 4


async def test_garbage_and_a_huge_event_in_a_stream_that_goes_on():
    async with running_engine(**FAST) as engine:
        garbage = await stream(engine, headers={"x-sim-fault": "garbage_event:2"})
        huge = await stream(engine, headers={"x-sim-fault": "huge_event:2"})

    assert b"oops" in garbage[3]
    assert len(huge[3]) > 2_000_000
    assert garbage[-1] == huge[-1] == b"data: [DONE]\n\n"


async def test_a_failure_can_be_asked_for_in_the_model_name():
    async with running_engine(**FAST) as engine:
        status, _, _ = await call(engine, "POST", "/v1/chat/completions", chat(model="sim!http_503:2"))
        wrong, _, body = await call(engine, "POST", "/v1/chat/completions", chat(model="sim!oops"))

    assert status == 503
    assert wrong == 400
    assert b"oops" in body


async def test_a_wrong_content_type_on_a_good_answer():
    async with running_engine(failures=("wrong_type",), **FAST) as engine:
        _, headers, body = await call(engine, "POST", "/v1/chat/completions", chat(2, stream=False))

    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert json.loads(body)["usage"]["completion_tokens"] == 2


async def test_failures_are_set_counted_down_and_cleared_while_it_runs():
    async with running_engine(**FAST) as engine:
        _, _, told = await call(engine, "POST", "/sim/failures", {"failures": ["http_500*1", "metrics_500"]})
        struck = [
            (await call(engine, "POST", "/v1/chat/completions", chat(1, stream=False)))[0] for _ in "12"
        ]
        page, _, _ = await call(engine, "GET", "/metrics")
        _, _, cleared = await call(engine, "DELETE", "/sim/failures")
        wrong, _, _ = await call(engine, "POST", "/sim/failures", {"failures": ["oops"]})
        well, _, _ = await call(engine, "GET", "/metrics")

    assert json.loads(told) == {"failures": ["http_500*1", "metrics_500"]}
    assert (struck, page) == ([500, 200], 500)
    assert json.loads(cleared) == {"failures": []}
    assert (wrong, well) == (400, 200)


async def test_broken_metrics_pages():
    async def page(engine, fault):
        await call(engine, "POST", "/sim/failures", {"failures": [fault]})
        return (await call(engine, "GET", "/metrics"))[2]

    async with running_engine(**FAST) as engine:
        empty = await page(engine, "metrics_empty")
        nan = await page(engine, "metrics_nan")
        garbage = await page(engine, "metrics_garbage")
        frozen = await page(engine, "metrics_frozen")
        await stream(engine)
        still = (await call(engine, "GET", "/metrics"))[2]
        slow = await page(engine, "metrics_slow:0.02")

    assert b"vllm:" not in empty
    assert b"process_start_time_seconds" in empty
    assert b'vllm:num_requests_running{engine="0",model_name="sim"} NaN' in nan
    assert b"\x00" in garbage
    assert still == frozen
    assert b'generation_tokens_total{engine="0",model_name="sim"} 5.0' in slow


async def test_death_drops_every_connection_and_the_port():
    async with running_engine() as engine, connection(engine) as (reader, writer):
        writer.write(chat_bytes(LONG))
        await read_head(reader)
        async with connection(engine) as (_, other):
            other.write(head("POST", "/sim/die"))
            assert await rest_of(reader) in ("closed", "reset")
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", engine.port)


async def test_a_killed_process_breaks_its_streams():
    async with engine_process("--max-num-seqs", "2") as process, connection(process) as (reader, writer):
        writer.write(chat_bytes(LONG))
        await read_head(reader)
        process.kill()
        assert await rest_of(reader) in ("closed", "reset")
        assert await process.process.wait() == -9
