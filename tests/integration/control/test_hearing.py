"""What an engine tells in its responses counts as a reading: at the gateway at once, then everywhere."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from scheduling import control_bus
from scheduling.control_step import Moment, newest, next_states
from scheduling.core.control import BackendState
from scheduling.core.limits import EngineLoad
from scheduling.core.ticket import Ticket
from scheduling.core.usage import Usage
from scheduling.engines import orca
from scheduling.local_control import HEAR_EVERY_S
from tests.fakes.waiting import clock_ms, until
from tests.integration.control.feeds import decided, gate, gateway
from tests.integration.control.known import NOWHERE, rules, state_of

NOW_S = 1_000_000.0


def report(waiting: int, backend: str = "gpu-0") -> EngineLoad:
    """A load as it comes with a response of vLLM."""
    header = f"TEXT named_metrics.num_requests_waiting={waiting}.0, named_metrics.kv_cache_usage_perc=0.5"
    load = orca.read(backend, header, time.time())
    assert load
    return load


def grown(window: int, read_at_s: float = 0.0) -> BackendState:
    """The controller's state after a page that said six running, with a window that has grown."""
    now_s = time.time()
    load = EngineLoad("gpu-0", read_at_s or now_s, running=6, waiting=0)
    (state,) = next_states({}, [load], rules("")[0], None, Moment(now_s, 10.0, epoch_floor=5)).values()
    return replace(state, window=float(window), given_window=window)


async def test_a_gateway_obeys_what_it_hears_at_once(valkey, engine) -> None:
    async with gateway(engine, period_s=60) as (dispatcher, feed):
        control_bus.save_states(valkey, {"gpu-0": grown(9)})
        await until(lambda: gate(dispatcher).window == 9)

        feed.hear(report(waiting=7))

        assert gate(dispatcher).window == 2, "seven wait in the engine that this gateway did not send"


async def test_what_is_heard_never_opens_a_window(valkey, engine) -> None:
    async with gateway(engine, period_s=60) as (dispatcher, feed):
        control_bus.save_states(valkey, {"gpu-0": decided(3)})
        await until(lambda: gate(dispatcher).window == 3 and feed._own.states)
        feed._told.look([replace(view, blocked=True) for view in dispatcher.begin_period()])

        feed.hear(report(waiting=0))

        assert gate(dispatcher).window == 3
        assert feed._told.counts["gpu-0"].blocked, "it is still the controller's to use"


async def test_of_many_responses_few_make_a_step_and_the_newest_is_passed_on(valkey, engine) -> None:
    async with gateway(engine, period_s=0.2) as (dispatcher, feed):
        valkey.set(control_bus.TICKED, time.time() + 60)
        decisions = []
        set_limits = dispatcher.set_limits
        dispatcher.set_limits = lambda limits: decisions.append(limits) or set_limits(limits)
        began_s = time.monotonic()
        for waiting in range(500):
            feed.hear(report(waiting))
        steps = len(decisions)

        assert 1 <= steps <= 1 + (time.monotonic() - began_s) / HEAR_EVERY_S

        await until(lambda: _heard(valkey) and _heard(valkey)["gpu-0"].waiting == 499)


async def test_after_the_clock_was_set_back_what_engines_tell_is_heard_as_before(valkey, engine) -> None:
    async with gateway(engine, period_s=60) as (dispatcher, feed):
        control_bus.save_states(valkey, {"gpu-0": grown(9)})
        await until(lambda: gate(dispatcher).window == 9)
        feed._own.heard["gpu-0"] = replace(report(waiting=0), read_at_s=time.time() + 3600)

        feed.hear(report(waiting=7))

        assert gate(dispatcher).window == 2


async def test_many_reports_of_one_queue_cut_once(valkey, engine) -> None:
    async with gateway(engine, period_s=60) as (dispatcher, feed):
        control_bus.save_states(valkey, {"gpu-0": grown(12)})
        await until(lambda: gate(dispatcher).window == 12)
        for n in range(9):
            ticket = Ticket(f"r{n}", "main", "llama", "chat", "u", "standard", 10, 10, clock_ms())
            lease = dispatcher.lease(ticket, Usage())
            await lease.__aenter__()

        for _ in range(5):
            feed._own._heard_at_s.clear()
            feed.hear(report(waiting=5))

            assert gate(dispatcher).window == 7, "four at work, and three more may wait"


async def test_a_report_that_is_older_or_says_nothing_moves_nothing(valkey, engine) -> None:
    async with gateway(engine, period_s=60) as (dispatcher, feed):
        control_bus.save_states(valkey, {"gpu-0": grown(9)})
        await until(lambda: gate(dispatcher).window == 9)
        feed.hear(report(waiting=1))
        feed._own._heard_at_s.clear()

        feed.hear(replace(report(waiting=8), read_at_s=time.time() - 5))
        feed.hear(EngineLoad("gpu-0", time.time(), kv_usage=0.9))
        feed.hear(report(waiting=8, backend="unknown"))

        assert gate(dispatcher).window == 8


async def test_whole_answers_leave_the_window_as_far_as_a_response_shows_that_they_cannot_wait(
    valkey, engine
) -> None:
    async with gateway(engine, period_s=60) as (dispatcher, feed):
        control_bus.save_states(valkey, {"gpu-0": grown(9)})
        await until(lambda: gate(dispatcher).window == 9)
        for n in range(4):
            ticket = Ticket(
                f"r{n}", "main", "llama", "chat", "u", "standard", 10, 10, clock_ms(), streams=False
            )
            lease = dispatcher.lease(ticket, Usage())
            await lease.__aenter__()
        await asyncio.sleep(0.01)  # what is told is of a later millisecond than the last dispatch

        feed.hear(report(waiting=1))

        assert gate(dispatcher).pending_first_token == 1


async def test_without_a_metrics_page_and_alone_a_gateway_goes_by_what_it_hears(settings, engine) -> None:
    settings.REDIS_URL = NOWHERE
    engine.answer = lambda handler: handler.say("", 404)
    async with gateway(engine) as (dispatcher, feed):
        await until(lambda: feed.alone and "gpu-0" in feed._own.states)
        feed.hear(report(waiting=2))

        await until(lambda: feed._own.states["gpu-0"].waiting == 2)
        assert gate(dispatcher).window == 1


@pytest.mark.parametrize(
    ("page", "heard", "known_s", "goes_by"),
    [
        pytest.param({"error": "404"}, NOW_S - 1, 0.0, "heard", id="a failed page"),
        pytest.param({}, NOW_S - 1, 0.0, "heard", id="an engine without a page"),
        pytest.param({"error": "404"}, NOW_S - 1, NOW_S - 1, "page", id="it counts once"),
        pytest.param({"error": "404"}, NOW_S - 11, 0.0, "page", id="stale"),
        pytest.param({"running": 4, "waiting": 3}, NOW_S - 1, 0.0, "page", id="older than the page"),
        pytest.param({"running": 4, "waiting": 3}, NOW_S + 1, 0.0, "both", id="newer than the page"),
    ],
)
def test_a_reading_is_the_pages_or_what_was_heard_since(page, heard, known_s, goes_by) -> None:
    load = EngineLoad("gpu-0", NOW_S, **page)
    told = EngineLoad("gpu-0", heard, waiting=8, kv_usage=0.5)

    found = newest(load, told, state_of("gpu-0", read_at_s=known_s), 10.0)

    expected = {"page": load, "heard": told, "both": replace(load, waiting=8, kv_usage=0.5)}
    assert found == expected[goes_by]
    assert newest(load, None, None, 10.0) == load
    assert newest(load, EngineLoad("gpu-0", NOW_S, kv_usage=0.5), None, 10.0) == load


def _heard(valkey) -> dict[str, EngineLoad]:
    return control_bus.heard_by(control_bus.load_words(valkey).values())
