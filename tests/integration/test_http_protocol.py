"""The short way from a connection to the consumer, beside uvicorn's own."""

from __future__ import annotations

import asyncio
import json

import pytest
from uvicorn.server import ServerState

from gateway.callers import CallerTable
from gateway.direct_client import DirectClient
from gateway.http_protocol import MISSES
from gateway.known_head import KnownHead
from gateway.settings import Settings
from tests.fakes.faulty import says
from tests.fakes.faulty_gateway import (
    BODY,
    CHAT,
    GOOD,
    SECRET,
    STREAM,
    WHOLE,
    gateway,
    in_flight,
    stall_then,
)
from tests.fakes.waiting import until


def asks(body, *headers, version="1.1"):
    raw = json.dumps(body).encode()
    lines = [f"POST {CHAT} HTTP/{version}", "host: x", f"authorization: Bearer {SECRET}", *headers]
    return "\r\n".join([*lines, f"content-length: {len(raw)}", "", ""]).encode() + raw


async def connect(served):
    return await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))


async def read_response(reader):
    """Status, headers, body."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode()
    status, *lines = head.strip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    if "content-length" in headers:
        body = await asyncio.wait_for(reader.readexactly(int(headers["content-length"])), 5)
    else:
        body = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 5)
    return int(status.split()[1]), headers, body


async def test_requests_sent_at_once_on_one_connection_are_answered_in_their_order():
    async with gateway(says(WHOLE), max_in_flight=8) as (served, engines):
        reader, writer = await connect(served)
        names = [f"r{number}" for number in range(4)]
        writer.write(b"".join(asks(BODY, f"x-request-id: {name}") for name in names))
        answers = [await read_response(reader) for _ in names]
        writer.close()
    assert [headers["x-request-id"] for _, headers, _ in answers] == names
    assert {status for status, _, _ in answers} == {200}
    assert len(engines[0].asked) == len(names)


async def test_a_head_that_is_known_by_its_bytes_is_obeyed_as_if_it_were_read(monkeypatch):
    """Each request of a connection repeats its head: it is let in, or refused, as it is now."""
    known = []
    body_of = KnownHead.body_of
    monkeypatch.setattr(
        KnownHead, "body_of", lambda head, data: known.append(body_of(head, data)) or known[-1]
    )
    async with gateway(says(WHOLE)) as (served, engines):
        reader, writer = await connect(served)
        bodies = [{**BODY, "user": user} for user in ("anna", "bert", "carl")]
        for body in bodies:
            writer.write(asks(body))
            assert (await read_response(reader))[0] == 200
        writer.write(asks(bodies[0], "x-request-id: mine"))
        assert (await read_response(reader))[1]["x-request-id"] == "mine"
        writer.write(asks(bodies[0], "x-request-id: mine"))
        assert (await read_response(reader))[1]["x-request-id"] == "mine"
        served.gateway.set_callers(CallerTable())
        writer.write(asks(bodies[0], "x-request-id: mine"))
        assert (await read_response(reader))[0] == 401
        writer.close()
    assert [body is not None for body in known] == [True, True, False, True, True]
    assert [json.loads(each.body)["user"] for each in engines[0].asked[:3]] == ["anna", "bert", "carl"]


async def test_a_connection_on_which_no_head_comes_twice_is_not_looked_at_for_ever(monkeypatch):
    seen = []
    of = KnownHead.of
    monkeypatch.setattr(KnownHead, "of", lambda *parts: seen.append(of(*parts)) or seen[-1])
    async with gateway(says(WHOLE)) as (served, _):
        reader, writer = await connect(served)
        for number in range(2 * MISSES):
            writer.write(asks(BODY, f"x-request-id: r{number}"))
            assert (await read_response(reader))[1]["x-request-id"] == f"r{number}"
        writer.close()
    assert len(seen) == MISSES


async def test_both_ways_share_one_connection_and_keep_their_order():
    async def in_turn(peer):
        for part in (WHOLE, GOOD, WHOLE):
            await peer.request()
            await peer.send(part)

    async with gateway(in_turn) as (served, _):
        reader, writer = await connect(served)
        page = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
        writer.write(asks(BODY) + page + asks(STREAM) + page + asks(BODY))
        kinds = [(await read_response(reader))[1]["content-type"].split(";")[0] for _ in range(5)]
        writer.close()
    assert kinds == ["application/json", "text/plain", "text/event-stream", "text/plain", "application/json"]


@pytest.mark.parametrize(
    ("version", "header"),
    [("1.1", "expect: 100-continue"), ("1.0", "accept: */*"), ("1.1", "connection: close")],
)
async def test_what_the_short_way_does_not_know_is_answered_all_the_same(version, header):
    async with gateway(says(WHOLE)) as (served, _):
        reader, writer = await connect(served)
        writer.write(asks(BODY, header, version=version))
        data = await asyncio.wait_for(reader.readuntil(b"}"), 5)
        if "close" in header or version == "1.0":
            data += await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert b"HTTP/1.1 200 OK" in data
    assert data.startswith(b"HTTP/1.1 100 Continue") == ("expect" in header)


async def test_a_long_prompt_in_many_pieces_reaches_the_engine_whole():
    body = {**BODY, "messages": [{"role": "user", "content": "0123456789" * 40_000}]}
    raw = json.dumps(body).encode()
    async with gateway(says(WHOLE)) as (served, engines):
        reader, writer = await connect(served)
        head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n"
        writer.write(head.encode() + b"transfer-encoding: chunked\r\n\r\n")
        for start in range(0, len(raw), 30_011):
            part = raw[start : start + 30_011]
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        status, _, _ = await read_response(reader)
        writer.close()
    assert status == 200
    assert json.loads(engines[0].asked[0].body)["messages"] == body["messages"]


async def test_a_body_without_a_length_that_comes_at_once_is_bounded_too():
    raw = json.dumps(BODY).encode()
    async with gateway(says(WHOLE), settings=Settings(body_bytes=len(raw) - 1)) as (served, _):
        reader, writer = await connect(served)
        head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n"
        chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(raw), raw)
        writer.write(head.encode() + b"transfer-encoding: chunked\r\n\r\n" + chunked)
        status, _, _ = await read_response(reader)
        writer.close()
    assert status == 413


async def test_a_client_that_leaves_in_its_body_leaves_nothing_behind():
    async with gateway(says(WHOLE)) as (served, engines):
        _, writer = await connect(served)
        writer.write(asks(BODY)[:-10])
        await until(lambda: len(served.gateway.pulse.clients) == 1)
        writer.close()
        await until(lambda: len(served.gateway.pulse.clients) == 0)
        assert not served.server.server_state.tasks
    assert not served.records
    assert not engines[0].asked


async def test_a_client_that_leaves_with_requests_in_line_has_none_of_them_served():
    async with gateway(stall_then(30, WHOLE)) as (served, engines):
        _, writer = await connect(served)
        writer.write(asks(BODY) * 3)
        await until(lambda: engines[0].asked)
        writer.close()
        (record,) = await served.settled(1)
        await until(lambda: len(served.gateway.pulse.clients) == 0)
    assert record.outcome == "client_gone_streaming"
    assert len(engines[0].asked) == 1


async def test_bytes_that_are_no_http_end_the_connection_and_nothing_runs_on():
    async with gateway(stall_then(30, WHOLE)) as (served, _):
        reader, writer = await connect(served)
        writer.write(asks(BODY))
        await until(lambda: in_flight(served) == 1)
        writer.write(b"no such thing\r\n\r\n")
        await asyncio.wait_for(reader.read(), 5)
        await until(lambda: in_flight(served) == 0)
        writer.close()


async def test_a_connection_without_requests_is_closed_and_a_busy_one_is_not(monkeypatch):
    async with gateway(stall_then(0.4, WHOLE)) as (served, _):
        served.server.config.timeout_keep_alive = 0.1
        idle, idler = await connect(served)
        reader, writer = await connect(served)
        writer.write(asks(BODY))
        assert await asyncio.wait_for(idle.read(), 5) == b""
        idler.close()
        status, _, _ = await read_response(reader)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
    assert status == 200


class Line:
    """A connection that keeps what is written to it."""

    writable = True
    server_state = ServerState()

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.transport = self
        self.written = b""
        self.writes = 0
        self.closed = False

    def write(self, data):
        if self.closed:
            raise RuntimeError("the handler is closed")  # as uvloop says
        self.written += data
        self.writes += 1

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed

    def on_response_complete(self): ...


def client_of(line):
    client = DirectClient()
    client.arrive(line, {}, {})
    return client


async def test_a_header_with_a_line_break_is_never_sent():
    line = Line()
    with pytest.raises(ValueError, match="line break"):
        await client_of(line).whole(200, [(b"x-a", b"b\r\nx-c: d")], b"")
    assert line.written == b""


async def test_an_answer_shorter_than_it_said_ends_its_connection():
    line = Line()
    client = client_of(line)
    await client.begin(200, [(b"content-length", b"5")])
    await client.finish(b"four")
    assert line.closed
    assert b"transfer-encoding" not in line.written


async def test_a_stream_begins_and_ends_with_one_write_each():
    line = Line()
    client = client_of(line)
    await client.start(200, b"x-a: b\r\n", b"data: a\n\n", last=False)
    assert (line.writes, client.answered, client.ended) == (1, True, False)
    await client.end(b"data: b\n\n")
    assert (line.writes, client.ended) == (2, True)
    assert line.written.endswith(b"\r\n\r\n9\r\ndata: a\n\n\r\n9\r\ndata: b\n\n\r\n0\r\n\r\n")


async def test_a_client_that_is_sent_something_is_not_idle():
    client = client_of(Line())
    await client.begin(200, [])
    since = client.idle_since_s
    assert client.idle_s(since + 3) == 3
    assert client.push(b"data: x\n\n")
    assert client.idle_s(since + 4) == 0  # since somebody looked
    assert client.idle_s(since + 9) == 5


async def test_what_comes_for_a_client_that_has_just_left_is_dropped():
    line = Line()
    client = client_of(line)
    await client.begin(200, [])
    line.close()
    said = len(line.written)
    assert client.push(b"data: x\n\n")
    client.remark(b": working\n\n")
    await client.write(b"data: y\n\n")
    assert len(line.written) == said
