"""The controller and the gateways over a real Valkey and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from types import MappingProxyType

import pytest
import redis
from django.db import DatabaseError
from django.utils import timezone

from scheduling import control_bus, controller, readings, selectors, services
from scheduling.control_feed import ControlFeed, poll_locally
from scheduling.control_step import Moment, next_states
from scheduling.controller import Controller
from scheduling.core.control import BackendState, OwnCounts
from scheduling.core.limits import EngineLoad
from scheduling.core.policy import BackendRule, Policy, PoolRule
from scheduling.core.ticket import Ticket
from scheduling.core.usage import Usage
from scheduling.dispatchers.memory import MemoryDispatcher
from scheduling.engines.endpoint import Endpoint
from scheduling.engines.scrape import Scraper
from scheduling.models import Backend, BackendReading
from scheduling.valkey import async_client, sync_client
from tests.fakes.pages import page_engine, vllm_page

BY = "admin:ada"
PATIENCE_S = 5.0
NOWHERE = "unix:///nonexistent/valkey.sock"
HELD_BACK = {"gpu-0": OwnCounts(pending=3, in_flight=9, blocked=True)}


@pytest.fixture
def engine():
    with page_engine() as engine:
        engine.page = vllm_page(running=6, waiting=0)
        yield engine


@pytest.fixture
def scraper():
    scraper = Scraper()
    yield scraper
    scraper.close()


@pytest.fixture
def backend(db, engine) -> None:
    services.create_pool("main", by=BY)
    services.create_backend("gpu-0", "main", engine.url, by=BY, max_in_flight=16)


@pytest.fixture
def tick(valkey, scraper):
    controller = Controller(valkey, scraper)

    def tick() -> bool:
        valkey.delete(control_bus.PERIOD)  # the next period begins
        return controller.tick()

    return tick


def tell(valkey: redis.Redis, gateway: str, counts: dict[str, OwnCounts]) -> None:
    async def publish() -> None:
        client = async_client()
        await control_bus.publish_counts(client, gateway, counts)
        await client.aclose()

    asyncio.run(publish())


def test_a_tick_moves_the_limit_by_what_the_engine_says(backend, tick, valkey) -> None:
    tell(valkey, "gateway-a", HELD_BACK)

    assert tick()

    state = control_bus.load_states(valkey)["gpu-0"]
    assert (state.running, state.waiting, state.error) == (6, 0, "")
    assert (state.given_window, state.given_cap) == (5, 16)
    assert state.reason == "engine queue empty while work waited: window grown"


def test_the_counts_of_all_gateways_are_one(backend, tick, engine, valkey) -> None:
    tell(valkey, "gateway-a", {"gpu-0": OwnCounts(pending=4, in_flight=4)})
    tell(valkey, "gateway-b", {"gpu-0": OwnCounts(pending=5, in_flight=6, blocked=True)})
    engine.page = vllm_page(running=1, waiting=9)

    tick()

    state = control_bus.load_states(valkey)["gpu-0"]
    assert control_bus.load_counts(valkey) == {"gpu-0": OwnCounts(9, 10, blocked=True)}
    assert "not ours" not in state.reason
    assert state.given_window == 1


def test_one_step_a_period_whoever_takes_it(backend, valkey, scraper, engine) -> None:
    workers = [Controller(valkey, scraper) for _ in range(3)]

    assert [worker.tick() for worker in workers] == [True, False, False]
    assert len(engine.requests) == 1
    assert 0 < valkey.pttl(control_bus.PERIOD) <= 1000


def test_a_failed_reading_keeps_the_limit_and_says_why(backend, tick, engine, valkey) -> None:
    tell(valkey, "gateway-a", HELD_BACK)
    tick()
    engine.answer = lambda handler: handler.say("", 404)

    tick()

    state = control_bus.load_states(valkey)["gpu-0"]
    assert state.given_window == 5
    assert state.error.startswith("metrics are switched off")


def test_a_new_rule_is_obeyed_at_the_next_step(backend, tick, valkey) -> None:
    tick()
    services.change_backend("gpu-0", by=BY, max_in_flight=2)
    tick()

    assert control_bus.load_states(valkey)["gpu-0"].given_cap == 2


def test_a_deleted_backend_leaves_the_states(backend, tick, valkey) -> None:
    tick()
    services.delete_backend("gpu-0", by=BY)
    tick()

    assert control_bus.load_states(valkey) == {}
    assert float(valkey.get(control_bus.TICKED)) > 0, "the controller is alive, with nothing to read"


def test_a_state_of_another_version_is_begun_again(backend, tick, valkey) -> None:
    valkey.hset(control_bus.STATES, "gpu-0", b'{"backend": 7}')

    tick()

    assert control_bus.load_states(valkey)["gpu-0"].running == 6


def test_limits_of_a_controller_that_lost_its_memory_are_newer(backend, tick, valkey) -> None:
    tick()
    known = control_bus.load_states(valkey)["gpu-0"]
    control_bus.save_states(valkey, {"gpu-0": replace(known, epoch=known.epoch - 60)}, gone=[])
    before = control_bus.load_states(valkey)["gpu-0"].limit()
    valkey.flushall()

    tick()

    after = control_bus.load_states(valkey)["gpu-0"].limit()
    assert (after.epoch, after.read_at_s) > (before.epoch, before.read_at_s)


def test_the_history_has_a_row_every_five_seconds_and_one_for_every_change(
    backend, tick, engine, valkey
) -> None:
    for _ in range(4):
        tick()
    assert BackendReading.objects.count() == 1

    tell(valkey, "gateway-a", HELD_BACK)
    tick()
    engine.answer = lambda handler: handler.say("", 500)
    tick()
    tick()

    rows = list(BackendReading.objects.order_by("id").values_list("running", "window", "error"))
    assert rows == [(6, 3, ""), (6, 5, ""), (6, 5, "the engine answered 500 for its metrics")]


def test_after_five_seconds_a_quiet_backend_gets_its_row() -> None:
    stored = state_of("gpu-0", ticked_at_s=100.0, stored_at_s=100.0)

    assert not readings.worth_storing(stored, replace(stored, ticked_at_s=104.9))
    assert readings.worth_storing(stored, replace(stored, ticked_at_s=105.0))


def test_old_history_is_forgotten(backend) -> None:
    for age in (readings.KEEP * 1.1, readings.KEEP * 0.9):
        BackendReading.objects.create(
            backend=Backend.objects.get(), at=timezone.now() - age, window=3, cap=16, reason="test"
        )

    assert readings.forget_old() == 1
    assert BackendReading.objects.count() == 1


def test_a_tick_without_postgres_is_a_line_in_the_log(monkeypatch, caplog, valkey, scraper) -> None:
    def away() -> int:
        raise DatabaseError("connection refused")

    monkeypatch.setattr(selectors, "revision", away)
    monkeypatch.setattr(selectors, "policy", away)
    monkeypatch.setattr(controller, "_controller", lambda: Controller(valkey, scraper))

    with caplog.at_level(logging.WARNING):
        assert controller.tick() is False
    assert "Postgres does not answer" in caplog.text


def test_a_tick_without_valkey_is_a_line_in_the_log(monkeypatch, settings, caplog, scraper) -> None:
    settings.REDIS_URL = NOWHERE
    nowhere = sync_client.__wrapped__()
    monkeypatch.setattr(controller, "_controller", lambda: Controller(nowhere, scraper))

    with caplog.at_level(logging.WARNING):
        assert controller.tick() is False
    assert "Valkey does not answer" in caplog.text


# The gateway's side


def state_of(backend: str, **more) -> BackendState:
    return BackendState(backend, 3.0, 16.0, **{"given_window": 3, "given_cap": 16, "reason": "test", **more})


def rules(url: str) -> tuple[Policy, dict[str, Endpoint]]:
    policy = Policy(
        revision=1,
        pools=MappingProxyType({"main": PoolRule("main")}),
        backends=MappingProxyType(
            {"gpu-0": BackendRule("gpu-0", "main", frozenset({"llama"}), max_in_flight=16, engine="vllm")}
        ),
        models=MappingProxyType({"llama": "main"}),
    )
    return policy, {"gpu-0": Endpoint("gpu-0", url, "vllm")}


def clock_ms() -> int:
    return time.monotonic_ns() // 1_000_000


@contextlib.asynccontextmanager
async def gateway(engine, period_s: float = 0.05):
    policy, endpoints = rules(engine.url)
    dispatcher = MemoryDispatcher(policy, clock_ms)
    feed = ControlFeed("gateway-a", dispatcher, lambda: (policy, endpoints), period_s, stale_after_s=10)
    running = asyncio.create_task(feed.run())
    try:
        yield dispatcher, feed
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await feed.close()
        dispatcher.close()


def gate(dispatcher: MemoryDispatcher):
    return dispatcher.view()[0].backends[0]


async def until(true) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await asyncio.sleep(0.005)


def decided(window: int, **more) -> BackendState:
    now_s = time.time()
    return state_of("gpu-0", given_window=window, epoch=5, ticked_at_s=now_s, decided_at_s=now_s, **more)


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
            await until(lambda: control_bus.load_counts(valkey) == {"gpu-0": OwnCounts(1, 1, blocked=False)})

    assert control_bus.load_counts(valkey) is None


async def test_without_a_controller_the_gateway_reads_the_engines_itself(valkey, engine) -> None:
    engine.page = vllm_page(running=16, waiting=12)  # somebody else's requests fill it
    async with gateway(engine) as (dispatcher, feed):
        await until(lambda: feed.alone and gate(dispatcher).window == 1)
        assert engine.requests

        control_bus.save_states(valkey, {"gpu-0": decided(8)}, gone=[])
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


async def test_reading_for_oneself_keeps_its_own_memory(engine, scraper) -> None:
    states: dict[str, BackendState] = {}
    windows = []
    for work in (10, 20, 30):
        engine.page = vllm_page(running=6, waiting=0, work=work)
        limits = await poll_locally(scraper, states, rules(engine.url), HELD_BACK, (1.0, 10.0))
        windows.append(limits[0].window)

    assert windows == [5, 9, 14]
    assert limits[0].epoch == 0, "it never outranks the controller"


async def test_the_console_sees_what_the_controller_knows(valkey, async_valkey) -> None:
    state = decided(4, running=2, waiting=1, kv_usage=0.5, error="timeout: no page within 1 s")
    control_bus.save_states(valkey, {"gpu-0": state}, gone=[])

    assert await control_bus.read_states(async_valkey) == {"gpu-0": state}
    assert await control_bus.read_limits(async_valkey) == [state.limit()]


def test_a_load_of_a_backend_that_left_the_policy_is_dropped() -> None:
    policy, _ = rules("http://127.0.0.1:1")
    loads = [EngineLoad("gpu-0", 1.0, running=1), EngineLoad("gone", 1.0, running=1)]

    assert list(next_states({}, loads, policy, None, Moment(1.0, 10.0))) == ["gpu-0"]
