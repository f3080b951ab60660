"""Large prompts wait in memory, and there is only so much of it."""

from __future__ import annotations

import asyncio

import pytest

from gateway.settings import Settings
from tests.fakes import socket_gateway
from tests.fakes.faulty import says
from tests.fakes.faulty_gateway import BODY, SECRET, WHOLE, gateway, in_flight, post, queued, send_raw
from tests.fakes.socket_client import ask, talk
from tests.fakes.socket_client import until as until_frame
from tests.fakes.waiting import until

LARGE = {**BODY, "messages": [{"role": "user", "content": "x" * 600_000}]}
TWO_FIT = Settings(bodies_bytes=1_500_000)
never = says(then="stall")


@pytest.fixture
async def full():
    """A gateway whose memory for large bodies is taken by two: one runs, one waits."""
    async with gateway(never, max_in_flight=1, settings=TWO_FIT) as (served, _):
        writers = [(await send_raw(served, LARGE))[1] for _ in range(2)]
        await until(lambda: in_flight(served) == queued(served) == 1)
        yield served, writers
        for writer in writers:
            writer.transport.abort()


async def test_a_large_body_that_has_no_room_beside_the_others_is_told_to_come_back(full):
    served, _ = full
    refused = await post(served, LARGE)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    assert queued(served) == 1


async def test_a_key_of_a_body_without_room_is_free_again(full):
    served, _ = full
    head = "idempotency-key: once"
    reader, writer = await send_raw(served, LARGE, head)
    assert b" 503 " in await reader.readline()
    writer.close()
    _, again = await send_raw(served, BODY, head)
    await until(lambda: queued(served) == 2)
    again.transport.abort()


@pytest.mark.parametrize("leaves", [0, 1], ids=["the one that runs", "the one that waits"])
async def test_who_leaves_makes_room_for_the_next(full, leaves):
    served, writers = full
    writers[leaves].transport.abort()
    await until(lambda: len(served.records) == 1)
    _, third = await send_raw(served, LARGE)
    await until(lambda: (in_flight(served), queued(served)) == (1, 1))
    third.transport.abort()
    await served.settled(2)


async def test_nothing_is_held_when_all_have_ended(full):
    served, writers = full
    for writer in writers:
        writer.transport.abort()
    await served.settled(2)
    await until(lambda: served.gateway.bodies.held_bytes == 0)


async def test_small_bodies_are_served_when_there_is_no_room_for_large_ones(full):
    served, _ = full
    _, small = await send_raw(served, BODY)
    await until(lambda: queued(served) == 2)
    small.transport.abort()


async def test_one_body_alone_is_served_however_little_room_there_is():
    async with gateway(says(WHOLE), settings=Settings(bodies_bytes=1024)) as (served, _):
        assert (await post(served, LARGE)).status_code == 200


async def test_a_frame_is_counted_as_a_body_is():
    async with (
        socket_gateway.gateway(never, settings=TWO_FIT) as (served, _),
        talk(served.url, SECRET) as first,
        talk(served.url, SECRET) as second,
        talk(served.url, SECRET) as third,
    ):
        for socket in (first, second):
            await ask(socket, messages=LARGE["messages"])
        await until(lambda: served.gateway.bodies.held_bytes > 1_200_000)
        await ask(third, messages=LARGE["messages"])
        refused = await until_frame(third, "error")
        await asyncio.gather(first.close(), second.close())
        await until(lambda: served.gateway.bodies.held_bytes == 0)
    assert (refused["status"], refused["error"]["code"]) == (503, "overloaded")
