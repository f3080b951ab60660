"""Clients that wait, leave, vanish or do not read."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import replace
from time import monotonic

import pytest

from gateway.callers import CallerTable
from gateway.settings import Settings
from scheduling.core.policy import TenantRule
from tests.fakes import gateway as fake_gateway
from tests.fakes.faulty import CHUNKED_HEAD, chunk, says
from tests.fakes.faulty_gateway import (
    BODY,
    CAST,
    CHAT,
    EVENT,
    GOOD,
    SECRET,
    STREAM,
    WHOLE,
    gateway,
    in_flight,
    post,
    queued,
    read_raw,
    send_raw,
    stall_then,
)
from tests.fakes.waiting import until

AT_ONCE_S = 0.1


@pytest.fixture(params=["direct", "asgi"], autouse=True)
def way(request, monkeypatch):
    """How requests reach the consumer: past uvicorn's ASGI, or through it as under any other server."""
    monkeypatch.setattr(fake_gateway, "DIRECT", request.param == "direct")


async def test_a_waiting_stream_hears_of_its_place_and_then_gets_its_answer():
    settings = Settings(hold_status_s=0.05, comment_every_s=0.05)
    slow = stall_then(0.3, GOOD)
    async with gateway(slow, settings=settings, max_in_flight=1) as (served, _):
        first = asyncio.create_task(post(served, STREAM))
        await until(lambda: in_flight(served) == 1)
        second = await post(served, STREAM)
        first = await first
    assert first.text.startswith(": working\n\n")
    assert second.text.startswith(": queued position=1\n\n")
    assert second.text.count(": ") > 2
    for text in (first.text, second.text):
        assert text.endswith("data: [DONE]\n\n")
        assert "id:" not in text.replace('"id":', "")


async def test_a_queued_stream_is_held_so_that_a_refusal_is_a_real_error():
    settings = Settings(queue_timeout_s=0.2, hold_status_s=5)
    async with gateway(says(then="stall"), settings=settings, max_in_flight=1) as (served, _):
        reader, writer = await send_raw(served, STREAM)
        await until(lambda: in_flight(served) == 1)
        refused = await post(served, STREAM)
        writer.close()
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "queue_timeout")
    assert reader is not None


async def test_a_refusal_after_the_status_line_is_an_error_event_and_a_broken_connection():
    settings = Settings(queue_timeout_s=0.3, hold_status_s=0.05, comment_every_s=0.05)
    async with gateway(says(then="stall"), settings=settings, max_in_flight=1) as (served, _):
        _, writer = await send_raw(served, STREAM)
        await until(lambda: in_flight(served) == 1)
        data = await read_raw(served, STREAM)
        writer.close()
        records = await served.settled(1)
    assert b": queued position=1\n\n" in data
    assert b'"code":"queue_timeout"' in data
    assert not data.endswith(b"0\r\n\r\n")
    assert (records[0].outcome, records[0].status) == ("queue_timeout", 200)


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
async def test_a_client_that_leaves_while_queued_is_never_dispatched(body):
    async with gateway(says(then="stall"), max_in_flight=1) as (served, engines):
        _, holder = await send_raw(served, body)
        await until(lambda: in_flight(served) == 1)
        _, leaver = await send_raw(served, body)
        await until(lambda: queued(served) == 1)
        left = monotonic()
        leaver.transport.abort()
        await until(lambda: queued(served) == 0)
        took = monotonic() - left
        records = list(await served.settled(1))
        holder.close()
    assert took < AT_ONCE_S
    assert (records[0].outcome, records[0].status, records[0].cost) == ("client_gone_queued", 499, 0)
    assert len(engines[0].asked) == 1


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
async def test_a_client_that_leaves_mid_answer_frees_the_engine_at_once_and_pays_for_what_it_got(body):
    started = CHUNKED_HEAD + chunk(EVENT) + chunk(EVENT) if body is STREAM else b""
    async with gateway(says(started, then="stall")) as (served, engines):
        reader, writer = await send_raw(served, body)
        if body is STREAM:
            await reader.readuntil(EVENT)
        else:
            await until(lambda: engines[0].asked)
        left = monotonic()
        writer.transport.abort()
        await until(lambda: in_flight(served) == 0)
        await until(lambda: not engines[0].tasks)
        took = monotonic() - left
        records = await served.settled(1)
    assert took < AT_ONCE_S
    assert (records[0].outcome, records[0].status) == ("client_gone_streaming", 499)
    assert records[0].estimated
    assert records[0].cost >= records[0].prompt_tokens > 0


async def test_a_client_that_does_not_read_is_cut_off_and_the_engine_let_go():
    flood = CHUNKED_HEAD + chunk(b": " + b"x" * 65536 + b"\n\n") * 400
    settings = Settings(slow_client_s=0.3)
    async with gateway(says(flood, then="stall"), settings=settings) as (served, _):
        _, writer = await send_raw(served, STREAM)
        writer.transport.pause_reading()
        records = await served.settled(1)
        await until(lambda: in_flight(served) == 0)
        writer.transport.abort()
    assert (records[0].outcome, records[0].status) == ("slow_client", 499)


async def test_a_client_that_vanishes_without_a_word_will_be_noticed():
    async with gateway(says(then="stall")) as (served, _):
        _, writer = await send_raw(served, BODY)
        await until(lambda: in_flight(served) == 1)
        (connection,) = served.server.server_state.connections
        sock = connection.transport.get_extra_info("socket")
        await until(lambda: sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 35_000
        writer.close()


async def test_a_gateway_that_is_stopped_settles_what_it_cuts_off():
    async with gateway(says(then="stall")) as (served, _):
        _, writer = await send_raw(served, BODY)
        await until(lambda: in_flight(served) == 1)
        for task in tuple(served.server.server_state.tasks):
            task.cancel()
        records = await served.settled(1)
        assert in_flight(served) == 0
        writer.close()
    assert (records[0].outcome, records[0].status) == ("draining", 503)


async def test_an_internal_failure_is_a_500_with_one_record(monkeypatch, caplog):
    def explode(*_):
        raise RuntimeError("bug")

    async with gateway(says(WHOLE)) as (served, _):
        monkeypatch.setattr(served.relay, "begin", explode)
        failed = await post(served, BODY)
        records = await served.settled(1)
        assert in_flight(served) == 0
    assert (failed.status_code, failed.json()["error"]["code"]) == (500, "internal")
    assert (records[0].outcome, records[0].status) == ("internal", 500)
    assert failed.headers["x-fairlane-request-id"] in caplog.text


async def test_a_client_that_closes_only_its_own_side_has_left():
    begins = says(CHUNKED_HEAD, chunk(EVENT), then="stall")
    async with gateway(begins, max_in_flight=1) as (served, (engine,)):
        reader, running = await send_raw(served, STREAM)
        await reader.readuntil(EVENT)
        _, waiting = await send_raw(served, BODY)
        await until(lambda: queued(served) == 1)
        waiting.write_eof()
        await until(lambda: queued(served) == 0)
        running.write_eof()
        records = await served.settled(2)
        await until(lambda: in_flight(served) == 0)
        await until(lambda: not engine.tasks)
        async with asyncio.timeout(5):
            await reader.read()
        for each in (running, waiting):
            each.close()
    assert [record.outcome for record in records] == ["client_gone_queued", "client_gone_streaming"]


@pytest.mark.parametrize("change", ["api token revoked", "tenant deleted", "tenant suspended"])
async def test_who_is_shut_out_while_its_body_is_on_its_way_is_not_served(change):
    async with gateway(says(WHOLE)) as (served, (engine,)):
        reader, writer, rest = await begin_raw(served, BODY)
        await until(lambda: served.gateway.pulse.clients)
        if change == "api token revoked":
            served.gateway.set_callers(CallerTable())
        else:
            policy = CAST.policy(revision=2)
            tenants = {} if "deleted" in change else {"research": TenantRule("research", suspended=True)}
            served.gateway.set_policy(replace(policy, tenants=tenants))
        writer.write(rest)
        status = int((await reader.readline()).split()[1])
        writer.close()
    assert status == (401 if change == "api token revoked" else 403)
    assert not engine.asked
    assert not served.records


async def begin_raw(served, body):
    """A request of which all has come but the last byte, and that byte."""
    raw = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    writer.write(f"{head}content-length: {len(raw)}\r\n\r\n".encode() + raw[:-1])
    return reader, writer, raw[-1:]
