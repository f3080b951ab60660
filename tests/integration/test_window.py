"""The window and the cap, from a client's request to the engine."""

from __future__ import annotations

import asyncio

import pytest
from openai import AsyncOpenAI

from tests.fakes.engine import running_engine
from tests.fakes.plane import MODEL, running_plane
from tests.fakes.waiting import until

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

SLOW = 0.01  # a first token takes seconds: longer than this test looks
SEATS = 12


def gate(plane):
    return plane.gateway.dispatcher.view()[0].backends[0]


def queued(plane) -> int:
    return plane.gateway.dispatcher.view()[0].queued


async def test_a_generic_engine_fills_its_cap_with_whole_answers_while_streams_obey_the_window(valkey):
    async with running_engine(time_scale=SLOW, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"chat": {}}, seats=SEATS, engine="openai")
        client = AsyncOpenAI(base_url=f"{plane.url}/v1", api_key=secrets["chat"], max_retries=0)

        def ask(count: int, *, stream: bool) -> list[asyncio.Task]:
            said = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 50}
            create = client.chat.completions.create
            return [asyncio.create_task(create(**said, stream=stream)) for _ in range(count)]

        whole = ask(SEATS, stream=False)
        await until(lambda: gate(plane).in_flight == SEATS)
        assert gate(plane).pending_first_token == 0

        for task in whole[:4]:
            task.cancel()
        await until(lambda: gate(plane).in_flight == SEATS - 4)
        streams = ask(5, stream=True)
        await until(lambda: queued(plane) == 2)
        assert (gate(plane).pending_first_token, gate(plane).in_flight) == (3, SEATS - 4 + 3)

        for task in (*whole, *streams):
            task.cancel()
        await asyncio.gather(*whole, *streams, return_exceptions=True)
        await until(lambda: gate(plane).in_flight == 0)
        await client.close()
