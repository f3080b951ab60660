"""Clients that send their next requests before they have their answer."""

from __future__ import annotations

import asyncio
import json
from functools import partial

import pytest

from config.protocol import BoundedGatewayHttp, HeadBounds
from gateway.ahead import AHEAD
from gateway.http_protocol import GatewayProtocol
from tests.fakes.faulty import says
from tests.fakes.faulty_gateway import BODY, CHAT, WHOLE, gateway
from tests.fakes.waiting import until
from tests.integration.test_http_protocol import asks, connect, read_response

LONG_WAY = CHAT + "?a=b"  # the short way knows no query
BURST = 40


@pytest.fixture(params=[CHAT, LONG_WAY], ids=["direct", "asgi"])
def path(request):
    return request.param


def asks_at(path, body, *headers):
    return asks(body, *headers).replace(CHAT.encode(), path.encode(), 1)


async def test_a_known_head_behind_a_request_of_the_long_way_waits_for_its_turn():
    """The long way's answer is still to come when the bytes are there that the short way knows."""
    ready = asyncio.Event()

    async def script(peer):
        while True:
            asked = await peer.request()
            if json.loads(asked.body).get("user") == "slow":
                await ready.wait()
            await peer.send(WHOLE)

    async with gateway(script) as (served, engines):
        reader, writer = await connect(served)
        for _ in range(2):
            writer.write(asks(BODY))
            assert (await read_response(reader))[0] == 200
        writer.write(asks_at(LONG_WAY, {**BODY, "user": "slow"}, "x-request-id: slow"))
        await until(lambda: len(engines[0].asked) == 3)
        writer.write(asks(BODY))
        await asyncio.sleep(0.1)
        ready.set()
        names = [(await read_response(reader))[1]["x-request-id"] for _ in range(2)]
        writer.close()
    assert names[0] == "slow"
    assert names[1] != "slow"


async def test_whoever_goes_on_sending_has_no_more_in_line_with_each_answer(path):
    """As many come in a burst as a read brings; the next burst is read when there is room again."""
    lines, turn = [], asyncio.Semaphore(0)

    def protocol(serve, **options):
        made = GatewayProtocol(serve, **options)
        lines.append(made.pipeline)
        return made

    async def script(peer):
        while True:
            await peer.request()
            await turn.acquire()
            await peer.send(WHOLE)

    longest = []
    async with gateway(script, protocol=protocol) as (served, engines):
        reader, writer = await connect(served)
        for answers in range(1, 6):
            writer.write(asks_at(path, BODY) * BURST)
            await until(lambda answers=answers: len(engines[0].asked) == answers)
            await asyncio.sleep(0.05)
            longest.append(len(lines[0]))
            turn.release()
            assert (await read_response(reader))[0] == 200
        for _ in range(5 * BURST - 5):
            turn.release()
            assert (await read_response(reader))[0] == 200
        writer.close()
    assert max(longest) <= BURST + AHEAD


async def test_a_head_that_is_not_read_is_not_too_slow():
    """The rest of it is here: it waits until fewer requests stand in line."""
    ready = asyncio.Event()

    async def script(peer):
        await peer.request()
        await ready.wait()
        await peer.send(WHOLE)
        await says(WHOLE)(peer)

    bounds = HeadBounds(read_s=0.1, size_bytes=16 * 1024, headers=100, connections=50)
    async with gateway(script, protocol=partial(BoundedGatewayHttp, bounds)) as (served, engines):
        reader, writer = await connect(served)
        last = asks(BODY)
        writer.write(asks(BODY) * (AHEAD + 2) + last[:20])
        await until(lambda: len(engines[0].asked) == 1)
        writer.write(last[20:])
        await asyncio.sleep(0.3)
        ready.set()
        answers = [(await read_response(reader))[0] for _ in range(AHEAD + 3)]
        writer.close()
    assert answers == [200] * (AHEAD + 3)
