"""A request whose body comes in pieces, and whoever reads them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from gateway.direct_client import BODY_BYTES, DirectClient


class Line:
    """A connection that remembers whether it reads."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.reads = True

    def pause_reading(self):
        self.reads = False

    def resume_reading(self):
        self.reads = True


@pytest.fixture
async def client():
    client = DirectClient()
    client.arrive(Line(), {}, {})
    return client


async def begin_to_read(client):
    reading = asyncio.get_running_loop().create_task(client.read(until_s=0.0))
    await asyncio.sleep(0)
    return reading


async def test_whoever_waits_for_a_piece_is_given_it_however_long_it_is(client):
    reading = await begin_to_read(client)
    client.take(b"x" * (BODY_BYTES + 1))
    assert client._connection.reads
    assert len((await reading)["body"]) == BODY_BYTES + 1


async def test_what_nobody_reads_any_more_has_to_wait_outside(client):
    reading = await begin_to_read(client)
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading
    client.take(b"x" * (BODY_BYTES + 1))
    assert not client._connection.reads
