"""Engines that die, clients that leave, admins that edit: what the simulated gateway does about it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.outcome import Outcome
from scheduling.core.policy import ClassRule
from scheduling.simulation.fleet import Backend
from scheduling.simulation.metrics import isolation, measure
from scheduling.simulation.scenario import (
    UNLIMITED,
    Arrival,
    EngineSpec,
    Scenario,
    Span,
    WeightChange,
)
from scheduling.simulation.simulate import play
from scheduling.simulation.workloads.own import backend_restart, flood, slow_backend, weight_change
from tests.unit.simulation.small import ONE_SEAT, a_workload, asks, outcomes


def test_requests_spread_over_all_engines():
    run = play(Scenario(a_workload(*asks(6), engines=(ONE_SEAT,) * 3), admission="static_cap"))

    assert [one.backend for one in run.served[:3]] == ["engine-0", "engine-1", "engine-2"]
    assert outcomes(run) == [Outcome.OK] * 6


def test_a_slow_engine_gets_fewer_requests_than_the_others():
    run = play(Scenario(slow_backend(1, seconds=40)))
    got = [sum(one.backend == f"engine-{n}" for one in run.served) for n in range(4)]

    assert got[0] < 0.5 * min(got[1:])


def test_who_was_told_nothing_when_an_engine_died_is_served_by_another():
    workload = a_workload(
        *asks(2, completion=2000), engines=(ONE_SEAT, ONE_SEAT), outages=(Span(1, 60_000, engine=0),)
    )

    run = play(Scenario(workload, admission="static_cap"))

    assert outcomes(run) == [Outcome.OK, Outcome.OK]
    assert {one.backend for one in run.served} == {"engine-1"}


def test_who_was_told_something_when_an_engine_died_has_failed_and_is_charged_what_it_got():
    workload = a_workload(*asks(1, completion=2000), outages=(Span(1_000, 2_000),))

    (lost,) = play(Scenario(workload)).served

    assert lost.outcome is Outcome.UPSTREAM_RESET
    assert 0 < lost.completion_tokens < 2000
    assert (lost.ended_ms, lost.cost_tokens) == (1_000, 100 + 2 * lost.completion_tokens)


def test_a_request_waits_while_no_engine_can_be_reached_and_is_served_when_one_is_back():
    workload = a_workload(*asks(1), outages=(Span(0, 4_000),))

    (served,) = play(Scenario(workload)).served

    assert served.outcome is Outcome.OK
    # Three refusals at once open the circuit; then it is tried after 1, 2 and 4 s.
    assert served.seated_ms == 7_000


def test_a_refused_request_avoids_the_engine_and_is_served_by_another():
    workload = a_workload(*asks(1), engines=(EngineSpec(), EngineSpec()), outages=(Span(0, 4_000),))

    (served,) = play(Scenario(workload)).served

    assert (served.outcome, served.backend, served.seated_ms) == (Outcome.OK, "engine-1", 0)


def test_an_engine_that_nobody_uses_while_requests_wait_is_counted():
    workload = a_workload(*asks(5), outages=(Span(0, 500),))

    run = play(Scenario(workload))

    # Back after 500 ms, but left alone until a second after the attempt that failed.
    assert run.idle_while_queued_ms == pytest.approx(500)


def test_most_of_a_restart_is_not_felt_by_clients():
    result = measure(play(Scenario(backend_restart(1))))

    assert result.outcomes["ok"] > 0.95 * result.requests
    assert "connect_fail" not in result.outcomes


def test_clients_leave_wherever_their_requests_are():
    waits = Arrival(0, "a", 100, 50, leaves_after_ms=200)
    streams = Arrival(0, "a", 100, 2000, leaves_after_ms=1_000)
    done = Arrival(0, "a", 100, 2, leaves_after_ms=5_000)
    workload = a_workload(streams, waits, done, engines=(ONE_SEAT,))

    run = play(Scenario(workload, admission="static_cap"))

    assert outcomes(run) == [Outcome.CLIENT_GONE_STREAMING, Outcome.CLIENT_GONE_QUEUED, Outcome.OK]
    assert (run.served[0].ended_ms, run.served[1].ended_ms) == (1_000, 200)
    assert (run.served[1].cost_tokens, run.served[1].seated_ms) == (0, None)
    assert run.served[2].seated_ms == 1_000  # the seat is free at once


def test_a_request_expires_when_its_patience_ends():
    workload = a_workload(
        Arrival(0, "a", 100, 500), Arrival(0, "a", 100, 5, patience_ms=300), engines=(ONE_SEAT,)
    )

    run = play(Scenario(workload, admission="static_cap"))

    assert outcomes(run) == [Outcome.OK, Outcome.QUEUE_TIMEOUT]
    assert run.served[1].ended_ms == 300


def test_a_batch_that_waited_too_long_is_promoted_by_time_alone():
    classes = {"interactive": ClassRule("interactive", 0), "batch": ClassRule("batch", 1, max_wait_ms=2_000)}
    busy = asks(400, every_ms=20, completion=20, priority_class="interactive")
    old = Arrival(0, "b", 100, 20, priority_class="batch")
    workload = a_workload(*sorted([*busy, old], key=lambda one: one.at_ms), engines=(ONE_SEAT,))

    promoted = play(Scenario(workload, admission="static_cap", classes=classes))
    never = play(Scenario(workload, admission="static_cap", classes=without_ageing(classes)))

    def wait_ms(run):
        return next(one.seated_ms for one in run.served if one.arrival is old)

    assert wait_ms(promoted) < 4_000 < 20_000 < wait_ms(never)


def without_ageing(classes):
    return {name: replace(rule, max_wait_ms=None) for name, rule in classes.items()}


def test_reserved_seats_keep_an_interactive_tenant_from_waiting():
    workload = flood(1, seconds=30)
    classed = tuple(
        replace(arrival, priority_class="interactive" if arrival.tenant == "quiet" else "batch")
        for arrival in workload.arrivals
    )
    workload = replace(workload, arrivals=classed, engines=(EngineSpec(max_in_flight=64),))
    classes = {"interactive": ClassRule("interactive", 0, reserved_seats=2), "batch": ClassRule("batch", 1)}

    with_classes = measure(play(Scenario(workload, classes=classes)))
    without = measure(play(Scenario(workload)))

    assert with_classes.tenant("quiet").ttft_p99_s < 0.7 * without.tenant("quiet").ttft_p99_s
    assert [one.priority_class for one in with_classes.classes] == ["batch", "interactive"]


def test_reserved_seats_of_an_engine_without_a_cap_are_refused():
    classes = {"interactive": ClassRule("interactive", 0, reserved_seats=2)}

    with pytest.raises(ValueError, match="max_in_flight"):
        Scenario(a_workload(*asks(1)), classes=classes).policy()


def test_new_weights_re_order_those_who_wait():
    result = measure(play(Scenario(weight_change(1))))

    assert result.fair.convergence_s[0] <= 5.0
    assert result.tenant("gold").weight == 3


def test_a_change_of_weights_that_nobody_needs_converges_never():
    workload = a_workload(*asks(3, every_ms=1000), weight_changes=(WeightChange(1_500, "a", 2),))

    assert measure(play(Scenario(workload))).fair.convergence_s == (None,)


def test_dispatches_over_a_limit_are_counted(monkeypatch):
    workload = a_workload(*asks(8), engines=(ONE_SEAT,))
    honest = play(Scenario(workload, admission="static_cap"))
    monkeypatch.setattr(EngineSpec, "cap", lambda self, admission: 3)
    monkeypatch.setattr(Backend, "hold", over_one_seat(Backend.hold))

    assert honest.over_limit == 0
    assert play(Scenario(workload, admission="static_cap")).over_limit > 0


def over_one_seat(hold):
    def held(self, *, streams):
        self.cap = 1
        return hold(self, streams=streams)

    return held


def test_without_admission_control_everything_goes_to_the_engine_at_once():
    run = play(Scenario(a_workload(*asks(40), engines=(ONE_SEAT,)), admission=UNLIMITED))

    assert {one.seated_ms for one in run.served} == {0}
    assert run.engine_queues["engine-0"].changes[0] == (0, 39)


def test_isolation_compares_a_tenant_beside_others_with_itself_alone():
    workload = flood(1, seconds=20)
    beside, alone = (measure(play(Scenario(each))) for each in (workload, workload.alone("quiet")))

    figures = isolation(beside, alone, "quiet")

    assert [one.tenant for one in alone.tenants] == ["quiet"]
    assert figures.factor_p99 == beside.tenant("quiet").ttft_p99_s / figures.alone_p99_s > 2
    with pytest.raises(ValueError, match=r"power, quiet"):
        workload.alone("nobody")


def test_the_run_ends_when_everybody_has_an_outcome_though_an_engine_stays_dead():
    impatient = [replace(one, patience_ms=20_000) for one in asks(2)]
    workload = a_workload(*impatient, outages=(Span(0, 10**9),), reads_engines=True)

    run = play(Scenario(workload))

    assert set(outcomes(run)) == {Outcome.QUEUE_TIMEOUT}
    assert run.ended_ms == impatient[-1].at_ms + 20_000


@pytest.mark.parametrize("wrong", [EngineSpec("no-such-gpu"), EngineSpec(kv_tokens=100)])
def test_an_engine_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError):
        play(Scenario(a_workload(*asks(1), engines=(wrong,))))


@pytest.mark.parametrize("reads_engines", [False, True])
def test_a_run_in_which_nothing_can_happen_any_more_ends_with_requests_unfinished(monkeypatch, reads_engines):
    monkeypatch.setattr(EngineSpec, "cap", lambda self, admission: 0)

    result = measure(play(Scenario(a_workload(*asks(2)), reads_engines=reads_engines)))

    assert result.outcomes == {"unfinished": 2}
    assert result.tenant("a").unserved == 2
