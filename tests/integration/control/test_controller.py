"""The controller over a real Valkey and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from itertools import count

import pytest
import redis
from django.db import DatabaseError
from django.utils import timezone

from scheduling import control_bus, controller, readings, selectors, services
from scheduling.control_bus import GatewayWord
from scheduling.control_step import Moment, next_states
from scheduling.controller import Controller
from scheduling.core.control import OwnCounts
from scheduling.core.limits import EngineLoad
from scheduling.engines import orca
from scheduling.engines.schedule import Slot
from scheduling.models import Backend, BackendReading
from scheduling.valkey import async_client, sync_client
from tests.fakes.pages import vllm_page
from tests.integration.control.known import BY, HELD_BACK, NOWHERE, counts_in, rules, state_of


@pytest.fixture
def backend(db, engine) -> None:
    services.create_pool("main", by=BY)
    services.create_backend("gpu-0", "main", engine.url, by=BY, max_in_flight=16)


@pytest.fixture
def tick(valkey, scraper):
    numbers = count()
    controller = Controller(valkey, scraper, lambda *rules: at_once(*rules, n=next(numbers)))

    def tick() -> bool:
        valkey.delete(control_bus.PERIOD)  # the next beat begins
        return controller.tick()

    return tick


def at_once(endpoints, now_s: float, beat_s: float, n: int = 0) -> list[Slot]:
    """A plan for tests of what a step does, not of when: every engine now."""
    return [Slot(now_s, endpoint, beat_s, n) for endpoint in endpoints]


def tell(valkey: redis.Redis, gateway: str, counts: dict[str, OwnCounts], heard=None) -> None:
    async def publish() -> None:
        client = async_client()
        await control_bus.publish_word(client, gateway, GatewayWord(counts, heard or {}))
        await client.aclose()

    asyncio.run(publish())


def test_a_tick_moves_the_limit_by_what_the_engine_says(backend, tick, valkey) -> None:
    tell(valkey, "gateway-a", HELD_BACK)

    assert tick()
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
    assert counts_in(valkey) == {"gpu-0": OwnCounts(9, 10, blocked=True)}
    assert "not ours" not in state.reason
    assert state.given_window == 1


def test_one_step_a_period_whoever_takes_it(backend, valkey, scraper, engine) -> None:
    workers = [Controller(valkey, scraper, at_once) for _ in range(3)]

    assert [worker.tick() for worker in workers] == [True, False, False]
    assert len(engine.requests) == 1
    assert 0 < valkey.pttl(control_bus.PERIOD) <= 1000


def test_a_failed_reading_keeps_the_limit_and_says_why(backend, tick, engine, valkey) -> None:
    tell(valkey, "gateway-a", HELD_BACK)
    tick()
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


def test_after_the_clock_was_set_back_the_history_goes_on() -> None:
    stored = state_of("gpu-0", ticked_at_s=5000.0, stored_at_s=5000.0)
    policy, _ = rules("http://127.0.0.1:1")
    due = []

    for now_s in range(100, 107):
        loads = [EngineLoad("gpu-0", now_s, running=1, waiting=0)]
        after = next_states({"gpu-0": stored}, loads, policy, None, Moment(now_s, 10.0))
        states, rows = readings.marked({"gpu-0": stored}, after)
        stored = states["gpu-0"]
        due += [row.ticked_at_s for row in rows]

    assert due == [105]


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


def test_a_load_of_a_backend_that_left_the_policy_is_dropped() -> None:
    policy, _ = rules("http://127.0.0.1:1")
    loads = [EngineLoad("gpu-0", 1.0, running=1), EngineLoad("gone", 1.0, running=1)]

    assert list(next_states({}, loads, policy, None, Moment(1.0, 10.0))) == ["gpu-0"]


def test_an_engine_without_a_metrics_page_is_controlled_by_its_response_headers(
    backend, tick, engine, valkey
) -> None:
    engine.answer = lambda handler: handler.say("", 404)
    tick()
    assert control_bus.load_states(valkey)["gpu-0"].error.startswith("metrics are switched off")
    header = "TEXT named_metrics.num_requests_waiting=9.0, named_metrics.kv_cache_usage_perc=0.9"
    heard = orca.read("gpu-0", header, time.time())

    tell(valkey, "gateway-a", {"gpu-0": OwnCounts(pending=9, in_flight=20)}, {"gpu-0": heard})
    tick()

    state = control_bus.load_states(valkey)["gpu-0"]
    assert (state.waiting, state.kv_usage, state.error, state.given_window) == (9, 0.9, "", 1)
    assert state.read_at_s == heard.read_at_s


def test_of_what_two_gateways_heard_the_newer_counts(valkey) -> None:
    old, new = EngineLoad("gpu-0", 1.0, waiting=1), EngineLoad("gpu-0", 2.0, waiting=2)
    tell(valkey, "gateway-a", {}, {"gpu-0": new})
    tell(valkey, "gateway-b", {}, {"gpu-0": old, "gpu-1": old})

    assert control_bus.heard_by(control_bus.load_words(valkey).values()) == {"gpu-0": new, "gpu-1": old}
