"""How a gateway hears of its limits, and what it does while nobody tells it."""

from __future__ import annotations

import asyncio
import contextlib
import time

from scheduling import control_bus
from scheduling.control_feed import ControlFeed
from scheduling.core.control import OwnCounts
from scheduling.core.ticket import Ticket
from scheduling.core.usage import Usage
from scheduling.dispatchers.memory import MemoryDispatcher
from tests.fakes.pages import vllm_page
from tests.fakes.waiting import PATIENCE_S, clock_ms, until
from tests.integration.control.feeds import decided, gate, gateway
from tests.integration.control.known import NOWHERE, counts_in, rules


async def test_a_wake_up_moves_the_gate_without_waiting_for_the_next_round(valkey, engine) -> None:
    async with gateway(engine, period_s=60) as (dispatcher, _):
        await until(lambda: valkey.pubsub_numsub(control_bus.WAKE)[0][1] == 1)
        await until(lambda: valkey.exists(control_bus.COUNTS + "gateway-a"))
        control_bus.save_states(valkey, {"gpu-0": decided(9)}, gone=[])

        await until(lambda: gate(dispatcher).window == 9)


async def test_a_gate_hears_of_its_limit_even_if_the_wake_up_is_lost(valkey, engine) -> None:
    async with gateway(engine) as (dispatcher, feed):
        valkey.hset(control_bus.STATES, "gpu-0", control_bus._encode(decided(7)))
        valkey.set(control_bus.TICKED, time.time() + 60)

        await until(lambda: gate(dispatcher).window == 7)
        assert not feed.alone


async def test_a_gateway_tells_what_it_holds_and_takes_it_back_when_it_ends(valkey, engine) -> None:
    async with gateway(engine) as (dispatcher, _):
        ticket = Ticket("r1", "main", "llama", "chat", "u", "standard", 10, 10, clock_ms())
        async with dispatcher.lease(ticket, Usage()):
            await until(lambda: counts_in(valkey) == {"gpu-0": OwnCounts(1, 1, blocked=False)})

    assert counts_in(valkey) is None


async def test_without_a_controller_the_gateway_reads_the_engines_itself(valkey, engine) -> None:
    engine.page = vllm_page(running=16, waiting=12)  # somebody else's requests fill it
    async with gateway(engine) as (dispatcher, feed):
        await until(lambda: feed.alone and gate(dispatcher).window == 1)
        assert engine.requests

        control_bus.save_states(valkey, {"gpu-0": decided(8, epoch=0)})
        valkey.set(control_bus.TICKED, time.time() + 60)
        await until(lambda: not feed.alone and gate(dispatcher).window == 8)


async def test_without_valkey_the_gateway_reads_the_engines_itself(settings, engine) -> None:
    settings.REDIS_URL = NOWHERE
    engine.page = vllm_page(running=16, waiting=12)
    async with gateway(engine) as (dispatcher, feed):
        await until(lambda: feed.alone and gate(dispatcher).window == 1)


async def test_a_cancellation_that_redis_swallowed_still_ends_the_feed(valkey, engine, monkeypatch) -> None:
    read_states = control_bus.read_states

    async def swallow(client):
        asyncio.current_task().cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        return await read_states(client)

    control_bus.save_states(valkey, {"gpu-0": decided(4)}, gone=[])
    monkeypatch.setattr(control_bus, "read_states", swallow)
    policy, endpoints = rules(engine.url)
    dispatcher = MemoryDispatcher(policy, clock_ms)
    feed = ControlFeed("gateway-a", dispatcher, lambda: (policy, endpoints), 1.0, stale_after_s=10)

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.create_task(feed.run())

    await feed.close()
    dispatcher.close()


async def test_the_console_sees_what_the_controller_knows(valkey, async_valkey) -> None:
    state = decided(4, running=2, waiting=1, kv_usage=0.5, error="timeout: no page within 1 s")
    control_bus.save_states(valkey, {"gpu-0": state}, gone=[])

    states = await control_bus.read_states(async_valkey)
    assert states == {"gpu-0": state}
    assert [told.limit() for told in states.values()] == [state.limit()]
