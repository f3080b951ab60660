"""When engines are read: each at its own time, once, and none kept waiting by another."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from types import MappingProxyType, SimpleNamespace

import pytest

from scheduling import control_bus, selectors
from scheduling.controller import Controller
from scheduling.core.policy import BackendRule, Policy, PoolRule
from scheduling.engines import schedule
from scheduling.engines.endpoint import Endpoint
from scheduling.engines.scrape import Scraper
from tests.fakes.pages import page_engine, vllm_page
from tests.fakes.waiting import PATIENCE_S


@pytest.fixture
def known(monkeypatch):
    """Set the rules that controllers read: backend to endpoint."""

    def know(*endpoints: Endpoint) -> None:
        rules = {
            at.backend: BackendRule(at.backend, "main", frozenset({"llama"}), 16, engine=at.engine)
            for at in endpoints
        }
        policy = Policy(
            revision=1,
            pools=MappingProxyType({"main": PoolRule("main")}),
            backends=MappingProxyType(rules),
            models=MappingProxyType({"llama": "main"}),
        )
        monkeypatch.setattr(selectors, "revision", lambda: 1)
        monkeypatch.setattr(selectors, "policy", lambda: policy)
        monkeypatch.setattr(selectors, "endpoints", lambda: {at.backend: at for at in endpoints})
        monkeypatch.setattr("scheduling.readings.store", lambda states: None)

    return know


def at(name: str, engine, every_ms: int | None = None) -> Endpoint:
    return Endpoint(name, engine.url, "vllm", poll_every_ms=every_ms)


@contextmanager
def ticking(*controllers: Controller):
    """One tick of each, in threads; they have ended when the block has."""
    threads = [threading.Thread(target=controller.tick) for controller in controllers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in threads)


def until(true) -> None:
    ends_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < ends_s
        time.sleep(0.005)


def test_a_slow_backend_delays_no_other(valkey, scraper, known) -> None:
    with page_engine() as slow, page_engine() as quick:
        slow.answer = lambda handler: slow.released.wait(PATIENCE_S)
        quick.page = vllm_page(running=3)
        known(at("slow", slow), at("quick", quick, 250))

        with ticking(Controller(valkey, scraper)):
            until(lambda: "quick" in control_bus.load_states(valkey))
            first_s = control_bus.load_states(valkey)["quick"].ticked_at_s
            until(lambda: control_bus.load_states(valkey)["quick"].ticked_at_s > first_s)
            assert "slow" not in control_bus.load_states(valkey), "nobody waited for it"

        states = control_bus.load_states(valkey)
        assert (states["quick"].running, states["quick"].error) == (3, "")
        assert states["slow"].error.endswith("timeout: no page within 1 s")


def test_fifty_engines_that_hang_delay_no_other(valkey, scraper, known) -> None:
    with page_engine() as hung, page_engine() as quick:
        hung.answer = lambda handler: hung.released.wait(PATIENCE_S)
        known(*(at(f"hung-{n}", hung) for n in range(50)), at("quick", quick))
        began_s = time.monotonic()

        with ticking(Controller(valkey, scraper)):
            until(lambda: "quick" in control_bus.load_states(valkey))
            assert set(control_bus.load_states(valkey)) == {"quick"}

        assert time.monotonic() - began_s < PATIENCE_S, "a tick is bounded"
        assert len(control_bus.load_states(valkey)) == 51


def test_every_backend_is_read_at_its_own_period(valkey, scraper, known) -> None:
    with page_engine() as often, page_engine() as seldom:
        known(at("often", often, 200), at("seldom", seldom, 60_000))

        for _ in range(2):
            valkey.delete(control_bus.PERIOD)
            with ticking(Controller(valkey, scraper)):
                pass

    assert 4 <= len(often.requests) <= 12
    assert len(seldom.requests) <= 2, "once at once, and once more if that minute ends just now"
    assert control_bus.load_states(valkey)["seldom"].running == 0, "what is not due keeps its state"


def test_beats_at_once_read_each_engine_once(valkey, known, monkeypatch) -> None:
    taken: list[str] = []
    take_slots = control_bus.take_slots

    def take(client, slots, hold_s: float) -> list[schedule.Slot]:
        mine = take_slots(client, slots, hold_s)
        taken.extend(slot.name for slot in mine)
        return mine

    monkeypatch.setattr(control_bus, "take_period", lambda *_: True)
    monkeypatch.setattr(control_bus, "take_slots", take)
    scrapers = [Scraper() for _ in range(4)]
    with page_engine() as engine:
        known(*(at(f"gpu-{n}", engine) for n in range(5)))
        with ticking(*(Controller(valkey, scraper) for scraper in scrapers)):
            pass

    for scraper in scrapers:
        scraper.close()
    assert {name.partition(":")[0] for name in taken} == {f"gpu-{n}" for n in range(5)}
    assert len(taken) == len(set(taken)), "no reading was taken twice"
    assert len(engine.requests) == len(taken)


def test_a_backend_that_is_being_read_is_not_read_a_second_time(valkey, known) -> None:
    endpoint = Endpoint("gpu-0", "http://127.0.0.1:1", "vllm")
    first, second, third = (schedule.Slot(0.0, endpoint, 1.0, n) for n in range(3))

    assert control_bus.take_slots(valkey, [first], 60.0) == [first]
    assert control_bus.take_slots(valkey, [second], 60.0) == []
    control_bus.release(valkey, ["gpu-0"])
    assert control_bus.take_slots(valkey, [first, second], 60.0) == [], "both have passed"
    assert control_bus.take_slots(valkey, [third], 60.0) == [third]


def test_a_reading_that_a_dead_worker_left_is_made_by_the_next(valkey, scraper, known) -> None:
    with page_engine() as engine:
        endpoint = at("gpu-0", engine, 60_000)
        known(endpoint)
        control_bus.take_period(valkey, 1.0)
        valkey.delete(control_bus.PERIOD)  # that beat is over, and whoever had it took no slot

        with ticking(Controller(valkey, scraper)):
            pass

    assert valkey.exists(control_bus.TAKEN + schedule.latest(endpoint, time.time(), 1.0).name)
    assert len(engine.requests) >= 1


def test_a_clock_that_is_set_back_within_a_beat_does_not_stop_it(valkey, scraper, known, monkeypatch) -> None:
    def sleep(seconds: float) -> None:
        assert seconds <= 1.0, "longer than a beat"
        time.sleep(seconds)

    ahead = iter([0.0, 0.0])  # as it is planned; then the clock is an hour behind
    clock = SimpleNamespace(
        time=lambda: time.time() - next(ahead, 3600.0), monotonic=time.monotonic, sleep=sleep
    )
    monkeypatch.setattr("scheduling.controller.time", clock)
    with page_engine() as engine:
        known(at("gpu-0", engine))
        soon = lambda endpoints, now_s, beat_s: [schedule.Slot(now_s + 0.05, *endpoints, beat_s, 1)]  # noqa: E731

        assert Controller(valkey, scraper, soon).tick()

        assert len(engine.requests) == 1


def test_the_controller_is_alive_when_no_engine_is_due(valkey, scraper, known) -> None:
    known()
    before_s = time.time()

    with ticking(Controller(valkey, scraper)):
        pass

    assert float(valkey.get(control_bus.TICKED)) >= before_s
