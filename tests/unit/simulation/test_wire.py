"""The way to the engines takes time, answers tell of the engine, and clients that wait ask again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.outcome import Outcome
from scheduling.simulation.metrics import measure
from scheduling.simulation.scenario import Arrival, Clients, EngineSpec, Scenario, Span, Workload
from scheduling.simulation.simulate import Simulation, play
from tests.unit.simulation.small import ONE_SEAT, a_workload, asks, outcomes

PATIENT = Clients("a", 2, ((100, 5), (100, 50)), from_ms=0, to_ms=3_000, think_ms=100)


def test_a_first_token_comes_later_by_the_way_there_and_back():
    near, far = (play(Scenario(a_workload(*asks(1)), delay_ms=delay)).served[0] for delay in (0, 10))

    assert far.first_token_ms == pytest.approx(near.first_token_ms + 20)
    assert far.ended_ms == pytest.approx(near.ended_ms + 20)


def test_who_leaves_holds_its_engine_until_it_hears_of_that():
    workload = a_workload(
        Arrival(0, "a", 100, 2000, leaves_after_ms=500), Arrival(100, "b", 100, 5), engines=(ONE_SEAT,)
    )
    left, after = play(Scenario(workload, delay_ms=40)).served

    assert left.outcome is Outcome.CLIENT_GONE_STREAMING
    assert left.ended_ms == 500
    assert left.completion_tokens > 5
    assert after.outcome is Outcome.OK
    assert after.first_token_ms > 500 + 40 + 40


def test_who_leaves_before_its_request_is_at_the_engine_never_gets_there():
    workload = a_workload(Arrival(0, "a", 100, 2000, leaves_after_ms=5))
    run = play(Scenario(workload, delay_ms=40))

    assert outcomes(run) == [Outcome.CLIENT_GONE_STREAMING]
    assert (run.prompt_tokens, run.served[0].cost_tokens) == (0, 0)


def test_an_engine_that_died_is_heard_of_later():
    workload = a_workload(Arrival(0, "a", 100, 2000), outages=(Span(1_000, 2_000),))
    lost = play(Scenario(workload, delay_ms=25)).served[0]

    assert (lost.outcome, lost.ended_ms) == (Outcome.UPSTREAM_RESET, 1_025)


def limits(scenario):
    """When the scheduler was told of which reading: both times in milliseconds."""
    simulation = Simulation(scenario)
    scheduler, told = simulation._front.scheduler, []
    real = scheduler.set_limit

    def spy(limit, now_ms, read_ms):
        told.append((now_ms, read_ms))
        return real(limit, now_ms, read_ms)

    scheduler.set_limit = spy
    simulation.run()
    return told


def test_a_reading_is_as_old_as_the_way_there_and_back():
    workload = a_workload(*asks(1, completion=120))

    told = limits(Scenario(workload, reads_engines=True, read_every_ms=400, delay_ms=10))

    assert told == [(at_ms + 20, at_ms) for at_ms in (0, 400, 800, 1200)]


def test_a_whole_answer_tells_of_its_engine_in_a_header_and_a_stream_does_not():
    workload = a_workload(*asks(3, every_ms=1_000, completion=10), engines=(EngineSpec(sends_headers=True),))
    whole = replace(workload, arrivals=tuple(replace(one, streams=False) for one in workload.arrivals))

    assert not limits(Scenario(workload, reads_engines=False))
    told = limits(Scenario(whole, reads_engines=False, delay_ms=10))
    ended = [one.ended_ms for one in play(Scenario(whole, reads_engines=False, delay_ms=10)).served]
    assert told == [(int(at_ms), int(at_ms - 20)) for at_ms in ended[:2]]  # then there is nothing to decide


def test_a_header_moves_a_window_down_at_once_and_never_up():
    engine = EngineSpec(sends_headers=True, max_num_seqs=8)
    clients = Clients("a", 64, ((500, 60),), 0, 20_000, streams=False)
    workload = Workload("small", (), 0, 20_000, engines=(engine,), clients=(clients,))
    simulation = Simulation(Scenario(workload, reads_engines=False))
    backend = simulation._front.fleet.at(0)
    simulation.run()

    assert backend.window <= 3
    assert backend.reader.state.waiting is not None


def test_clients_ask_again_when_they_have_thought_about_their_answer():
    workload = Workload("small", (), 0, 3_000, clients=(PATIENT,))
    run = play(Scenario(workload))
    first, second = run.served[:2]

    assert (first.arrival.completion_tokens, second.arrival.completion_tokens) == (5, 50)
    assert run.served[2].arrival.at_ms == pytest.approx(first.ended_ms + 100, abs=1)
    assert set(outcomes(run)) == {Outcome.OK}
    assert 2_000 < run.served[-1].arrival.at_ms < 3_000
    assert measure(run).requests == len(run.served) > 6


def test_clients_are_a_tenant_too_when_one_is_played_alone():
    workload = Workload("small", tuple(asks(2, tenant="b")), 0, 3_000, clients=(PATIENT,))

    assert workload.alone("a").clients == (PATIENT,)
    assert workload.alone("b").clients == ()
    with pytest.raises(ValueError, match="a, b"):
        workload.alone("nobody")


def test_orders_reach_engines_that_keep_them():
    engine = EngineSpec(max_num_seqs=1, scheduling_policy="priority")
    arrivals = [Arrival(0, "busy", 100, 50) for _ in range(6)] + [Arrival(1, "calm", 100, 50)]
    ended = {}
    for mode in ("off", "alone"):
        run = play(
            Scenario(a_workload(*arrivals, engines=(engine,)), engine_priority=mode, window_requests=9)
        )
        order = sorted(run.served, key=lambda one: one.ended_ms)
        ended[mode] = [one.arrival.tenant for one in order].index("calm")

    assert ended == {"off": 6, "alone": 1}


def test_an_unknown_policy_of_an_engine_is_refused_by_name():
    with pytest.raises(ValueError, match="scheduling_policy is 'best'"):
        play(Scenario(a_workload(*asks(1), engines=(EngineSpec(scheduling_policy="best"),))))
