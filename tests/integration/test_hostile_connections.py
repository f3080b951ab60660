"""What clients may do to a connection, by the short way to the consumer and by ASGI."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from functools import partial

import pytest

from config.protocol import BoundedGatewayHttp, HeadBounds
from gateway import direct_client
from gateway.vanishing import notice_vanishing
from tests.fakes.faulty import CHUNKED_HEAD, chunk, says
from tests.fakes.faulty_gateway import BODY, CHAT, EVENT, SECRET, STREAM, WHOLE, gateway, in_flight, queued
from tests.fakes.waiting import until

BOUNDS = HeadBounds(read_s=5.0, size_bytes=16 * 1024, headers=100, connections=50)
LONG = {**BODY, "messages": [{"role": "user", "content": "0123456789" * 2000}]}
UPGRADE = (
    f"GET {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\nconnection: upgrade\r\n"
    "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()


def protocol(serve, **options):
    return BoundedGatewayHttp(BOUNDS, serve, **options)


@pytest.fixture(params=[CHAT, CHAT + "?a=b"], ids=["direct", "asgi"])
def path(request):
    """Where to ask: the short way knows no query."""
    return request.param


def asks(path, body, *headers):
    raw = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "host: x", f"authorization: Bearer {SECRET}", *headers]
    return "\r\n".join([*lines, f"content-length: {len(raw)}", "", ""]).encode() + raw


async def connect(served):
    return await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))


async def read_all(reader):
    """What came until the end, however that came."""
    data = b""
    with suppress(ConnectionError):
        while part := await reader.read(65536):
            data += part
    return data


def begins_then(ready):
    """Each answer begins at once, and goes on when ``ready`` is set."""

    async def script(peer):
        while True:
            await peer.request()
            await peer.send(CHUNKED_HEAD, chunk(EVENT))
            await ready.wait()
            await peer.closed()

    return script


async def never(peer):
    await peer.request()
    await peer.closed()


async def test_a_client_with_a_long_prompt_that_leaves_while_it_waits_gives_up_its_place(path, monkeypatch):
    monkeypatch.setattr(direct_client, "BODY_BYTES", 1024)  # a body that comes at once is longer than that
    async with gateway(never, protocol=protocol, max_in_flight=1) as (served, engines):
        _, first = await connect(served)
        first.write(asks(path, BODY))
        await until(lambda: in_flight(served) == 1)
        _, second = await connect(served)
        second.write(asks(path, LONG))
        await until(lambda: queued(served) == 1)
        second.close()
        await until(lambda: queued(served) == 0)
        first.close()
        await until(lambda: in_flight(served) == 0)
        assert len(engines[0].asked) == 1


async def test_a_bad_body_behind_a_running_stream_is_never_answered_in_the_middle_of_it(path):
    async with gateway(begins_then(asyncio.Event()), protocol=protocol) as (served, _):
        reader, writer = await connect(served)
        writer.write(asks(path, STREAM))
        data = await reader.readuntil(EVENT)
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n"
        writer.write(head.encode() + b"transfer-encoding: chunked\r\n\r\nzz\r\n")
        data += await asyncio.wait_for(read_all(reader), 5)
        writer.close()
        await until(lambda: len(served.gateway.pulse.clients) == 0)
    assert data.count(b"HTTP/1.1") == 1
    assert not data.endswith(b"0\r\n\r\n")


async def test_an_upgrade_behind_a_running_stream_never_mixes_with_it(path):
    options = {"protocol": protocol, "ws": "websockets-sansio"}
    async with gateway(begins_then(asyncio.Event()), **options) as (served, _):
        reader, writer = await connect(served)
        writer.write(asks(path, STREAM))
        data = await reader.readuntil(EVENT)
        writer.write(UPGRADE)
        data += await asyncio.wait_for(read_all(reader), 5)
        writer.close()
        await until(lambda: len(served.gateway.pulse.clients) == 0)
    assert b"101 Switching" not in data


PLAIN = asks(CHAT, BODY)
BY_ASGI = asks(CHAT + "?a=b", BODY)


@pytest.mark.parametrize("requests", [PLAIN + PLAIN, PLAIN + BY_ASGI, BY_ASGI + PLAIN, BY_ASGI + BY_ASGI])
async def test_whoever_runs_hears_its_client_leave_when_another_request_follows(requests):
    async with gateway(never, protocol=protocol) as (served, engines):
        _, writer = await connect(served)
        writer.write(requests)
        await until(lambda: engines[0].asked)
        writer.close()
        await until(lambda: in_flight(served) == 0)
        await until(lambda: len(served.gateway.pulse.clients) == 0)
        assert len(engines[0].asked) == 1
        await until(lambda: not served.server.server_state.tasks)


async def test_a_websocket_leaves_no_timer_behind():
    made = []

    def kept(serve, **options):
        made.append(protocol(serve, **options))
        return made[-1]

    async with gateway(never, protocol=kept, ws="websockets-sansio") as (served, _):
        served.server.config.timeout_keep_alive = 0.02
        reader, writer = await connect(served)
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await until(lambda: not served.server.server_state.connections)
        assert made[0].timeout_keep_alive_task is None or made[0].timeout_keep_alive_task.cancelled()


async def test_a_trailer_without_an_end_is_bounded(path):
    async with gateway(never, protocol=protocol) as (served, engines):
        reader, writer = await connect(served)
        raw = json.dumps(BODY).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n"
        writer.write(head.encode() + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(raw), raw))
        await until(lambda: len(served.gateway.pulse.clients) == 1)
        writer.write(b"0\r\nx-a: ")
        with suppress(ConnectionError):
            for _ in range(100):
                writer.write(b"a" * 10_000)
                await writer.drain()
                await asyncio.sleep(0)
        await asyncio.wait_for(read_all(reader), 5)
        writer.close()
        await until(lambda: len(served.gateway.pulse.clients) == 0)
        assert not engines[0].asked


async def test_trailers_are_not_kept(path):
    made = []

    def kept(serve, **options):
        made.append(protocol(serve, **options))
        return made[-1]

    async with gateway(never, protocol=kept) as (served, _):
        _, writer = await connect(served)
        raw = json.dumps(BODY).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n"
        writer.write(head.encode() + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(raw), raw))
        writer.write(b"x-a: b\r\n" * 500 + b"\r\n")
        await until(lambda: in_flight(served) == 1 or made[0].transport.is_closing())
        assert len(made[0].headers) < 10
        writer.close()
        await until(lambda: len(served.gateway.pulse.clients) == 0)


async def test_an_early_refusal_is_whole_and_what_follows_its_body_is_answered(path):
    """A request may be refused before its body came; the next on its connection is another's business."""
    async with gateway(never, protocol=protocol) as (served, _):
        reader, writer = await connect(served)
        refused = asks(path, LONG).replace(SECRET.encode(), b"nonsense")
        half = len(refused) // 2
        writer.write(refused[:half])
        first = await asyncio.wait_for(reader.readuntil(b"}}"), 5)
        writer.write(refused[half:] + asks(path, {}, "x-request-id: second"))
        second = await asyncio.wait_for(reader.readuntil(b"}}"), 5)
        writer.close()
        await until(lambda: len(served.gateway.pulse.clients) == 0)
    assert first.startswith(b"HTTP/1.1 401")
    assert second.startswith(b"HTTP/1.1 400")
    assert b"x-request-id: second" in second


async def test_an_offer_of_another_protocol_is_passed_over_and_the_connection_goes_on():
    """As Java's own client offers HTTP/2 with its first request."""
    offer = (
        "connection: upgrade, http2-settings",
        "upgrade: h2c",
        "http2-settings: AAMAAABkAAQAoAAAAAIAAAAA",
    )
    async with gateway(says(WHOLE), protocol=protocol) as (served, engines):
        reader, writer = await connect(served)
        for headers in (offer, (), offer):
            asked = asks(CHAT, BODY, *headers)
            writer.write(asked[:-20])
            await asyncio.sleep(0.01)
            writer.write(asked[-20:])
            answer = await asyncio.wait_for(reader.readuntil(b"}}"), 5)
            assert answer.startswith(b"HTTP/1.1 200")
        writer.close()
        assert [json.loads(each.body)["messages"] for each in engines[0].asked] == [BODY["messages"]] * 3


async def test_many_offers_at_once_are_as_many_requests():
    offer = ("connection: upgrade", "upgrade: h2c")
    async with gateway(says(WHOLE), protocol=protocol) as (served, engines):
        reader, writer = await connect(served)
        writer.write(asks(CHAT, BODY, *offer) * 5 + asks(CHAT, BODY, "connection: close"))
        data = await asyncio.wait_for(read_all(reader), 5)
        writer.close()
    assert data.count(b"HTTP/1.1 200 OK") == len(engines[0].asked) == 6


async def test_an_offer_with_a_bad_address_is_a_400():
    async with gateway(never, protocol=protocol) as (served, _):
        reader, writer = await connect(served)
        writer.write(b"GET http://[::1 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
        data = await asyncio.wait_for(read_all(reader), 5)
        writer.close()
    assert data.startswith(b"HTTP/1.1 400")


async def test_the_kernel_gives_a_slow_reader_more_time_than_the_gateway_does():
    patient = partial(BoundedGatewayHttp, BOUNDS, slow_client_s=300.0)
    async with gateway(says(WHOLE), protocol=patient) as (served, _):
        _, writer = await connect(served)
        await until(lambda: served.server.server_state.connections)
        (connection,) = served.server.server_state.connections
        notice_vanishing(connection.transport)  # as the way through ASGI does once more
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 305_000
        writer.close()


async def test_a_tunnel_is_refused_and_others_are_served():
    async with gateway(says(WHOLE), protocol=protocol) as (served, _):
        reader, writer = await connect(served)
        writer.write(b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n")
        refused = await asyncio.wait_for(read_all(reader), 5)
        writer.close()
        reader, writer = await connect(served)
        writer.write(asks(CHAT, BODY))
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        writer.close()
    assert refused.startswith(b"HTTP/1.1 400 ")
    assert b"malformed_request" in refused
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(("method", "status"), [("GET", 405), ("POST", 200)])
async def test_a_handshake_with_a_body_is_answered_as_if_it_offered_no_websocket(method, status):
    offer = UPGRADE.decode().split("\r\n")[3:-2]
    async with gateway(says(WHOLE), protocol=protocol, ws="websockets-sansio") as (served, _):
        reader, writer = await connect(served)
        writer.write(asks(CHAT, BODY, *offer).replace(b"POST", method.encode(), 1))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        writer.close()
    assert head.startswith(b"HTTP/1.1 %d " % status)
