"""What the design promises, held against clients that leave at every instant and tenants at their limits."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from openai import AsyncOpenAI, OpenAIError

from gateway.models import UsageRecord
from scheduling import services
from tests.fakes.engine import running_engine
from tests.fakes.plane import MODEL, read, running_plane, until

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

ASK = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
CLIENTS = 60
LONGEST_STAY_S = 0.6


def client_of(plane, secret: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{plane.url}/v1", api_key=secret, max_retries=0)


def held(plane) -> tuple[int, int]:
    """How many wait and how many hold a seat, over all pools."""
    pools = plane.gateway.dispatcher.view()
    return sum(pool.queued for pool in pools), sum(pool.in_flight for pool in pools)


def records() -> Counter[str]:
    return Counter(UsageRecord.objects.values_list("outcome", flat=True))


async def stay(client: AsyncOpenAI, seconds: float, *, stream: bool) -> None:
    """Ask for more than there is time for, and leave."""
    try:
        async with asyncio.timeout(seconds):
            answer = await client.chat.completions.create(**ASK, max_tokens=400, stream=stream)
            if stream:
                async for _ in answer:
                    pass
    except (TimeoutError, OpenAIError):
        pass


async def test_clients_that_leave_at_any_instant_leave_one_record_each_and_nothing_else(valkey) -> None:
    rng = random.Random(4)
    async with running_engine(time_scale=2, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"chat": {}}, seats=4)
        async with client_of(plane, secrets["chat"]) as client, asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(stay(client, rng.uniform(0.05, LONGEST_STAY_S), stream=number % 2 == 0))
        await until(lambda: held(plane) == (0, 0))
        await until(lambda: engine.model.running == engine.model.waiting == 0)
        metrics = plane.gateway.books.metrics
        accepted = sum(metrics.requests.values())
        assert plane.gateway.books.unsettled == 0

    ended = await read(records)
    assert set(ended) <= {"client_gone_queued", "client_gone_streaming"}
    assert ended.total() == accepted
    assert ended["client_gone_queued"] > 0
    assert ended["client_gone_streaming"] > 0


async def test_a_tenant_at_its_in_flight_quota_waits_while_others_are_served(valkey) -> None:
    async with running_engine(time_scale=2, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"chat": {}, "research": {}}, seats=4)
        await plane.write(services.set_quota, "research", "in_flight", 1)
        await plane.settle()
        async with (
            client_of(plane, secrets["chat"]) as chat,
            client_of(plane, secrets["research"]) as research,
        ):
            greedy = [asyncio.create_task(stay(research, 5, stream=True)) for _ in range(3)]
            await until(lambda: held(plane) == (2, 1))
            answer = await chat.chat.completions.create(**ASK, max_tokens=2)
            assert held(plane) == (2, 1)

            await plane.write(services.set_quota, "research", "in_flight", None)
            await until(lambda: held(plane) == (0, 3))
            for task in greedy:
                task.cancel()
            await asyncio.gather(*greedy, return_exceptions=True)

    assert answer.usage.completion_tokens == 2
