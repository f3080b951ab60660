"""The figures of a run, against cases that can be done by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.outcome import Outcome
from scheduling.simulation.metrics import held_percentile, measure
from scheduling.simulation.record import Gauge, Run, Served
from scheduling.simulation.scenario import Arrival, Scenario, WeightChange, Workload
from scheduling.simulation.series import OverTime
from scheduling.simulation.service import (
    Curve,
    backlogs,
    both,
    convergence_s,
    curves,
    jain,
    widest_gap,
    worst_jain,
)


def served(tenant, arrived_s, first_s, ended_s, tokens, seated_s=None, **fields):
    """A request of ``tokens`` completion tokens and none of prompt, so of twice that cost."""
    arrival = Arrival(arrived_s * 1000, tenant, 0, tokens, **fields)
    seated_s = first_s if seated_s is None else seated_s
    return Served(arrival, seated_s * 1000, first_s * 1000, ended_s * 1000, Outcome.OK, tokens)


def a_run(*log, from_s=0, to_s=100, ended_s=100, **changes):
    workload = Workload("by hand", tuple(one.arrival for one in log), from_s * 1000, to_s * 1000)
    return Run(Scenario(replace(workload, **changes)), list(log), {}, ended_s * 1000)


def test_service_is_spread_evenly_from_the_first_token_to_the_last():
    curve = curves([served("a", 0, 10, 20, 500), served("a", 0, 15, 25, 500)])["a"]

    # 100 cost tokens a second from 10 to 15, 200 to 20, 100 to 25
    at = [curve.at(s * 1000) for s in (0, 10, 12, 15, 20, 25, 99)]
    assert at == pytest.approx([0, 0, 200, 500, 1500, 2000, 2000])
    assert curve.within(12_000, 20_000) == pytest.approx(1300)


def test_an_answer_of_one_token_is_served_in_an_instant():
    curve = curves([served("a", 0, 5, 5, 1)])["a"]

    assert (curve.at(4_999), curve.at(5_000)) == pytest.approx((0, 2))


def test_what_was_never_begun_or_never_ended_gave_no_service():
    queued = Served(Arrival(0, "a", 10, 10), ended_ms=5_000, outcome=Outcome.CLIENT_GONE_QUEUED)

    assert curves([queued])["a"].at(10_000) == 0


def test_a_tenant_is_backlogged_while_any_of_its_requests_waits():
    log = [
        served("a", 0, 9, 9, 1, seated_s=4),
        served("a", 2, 9, 9, 1, seated_s=6),
        served("a", 6, 9, 9, 1, seated_s=7),
        served("a", 8, 9, 9, 1, seated_s=8),
        Served(Arrival(9_000, "b", 1, 1)),
    ]

    assert backlogs(log, 12_000) == {"a": [(0, 7_000)], "b": [(9_000, 12_000)]}


def test_two_lists_of_spans_have_an_intersection():
    assert both([(0, 4), (6, 9)], [(1, 2), (3, 7), (9, 10)]) == [(1, 2), (3, 4), (6, 7)]


def test_the_gap_is_the_widest_drift_in_a_time_in_which_both_wait():
    service = {
        "a": Curve([0, 10, 20, 30], [0, 100, 100, 300]),
        "b": Curve([0, 10, 20, 30], [0, 0, 200, 200]),
    }
    waited = {"a": [(0, 30)], "b": [(0, 30)]}

    # a - b goes 0, 100, -100, 100: the widest range within one time is 200.
    assert widest_gap(service, {"a": 1, "b": 1}, waited) == (200, ("a", "b"))
    # Per weight: a/2 - b goes 0, 50, -150, -50.
    assert widest_gap(service, {"a": 2, "b": 1}, waited)[0] == pytest.approx(200)
    # While b does not wait from 10 to 20 nothing is held against anybody.
    apart = {"a": [(0, 30)], "b": [(0, 10), (20, 30)]}
    assert widest_gap(service, {"a": 1, "b": 1}, apart)[0] == pytest.approx(200)
    assert widest_gap(service, {"a": 1, "b": 1}, {"a": [(0, 10)], "b": [(0, 10)]})[0] == pytest.approx(100)
    assert widest_gap(service, {"a": 1, "b": 1}, {"a": [(0, 10)], "b": [(20, 30)]}) == (0, None)


def test_the_worst_thirty_seconds_are_found_wherever_they_begin():
    service = {
        "a": Curve([0, 40_000, 70_000, 100_000], [0, 400, 700, 1_000]),
        "b": Curve([0, 40_000, 70_000, 100_000], [0, 400, 400, 700]),
    }
    waited = {"a": [(0, 100_000)], "b": [(0, 100_000)]}

    assert worst_jain(service, {"a": 1, "b": 1}, waited) == pytest.approx(0.5)  # 40 to 70: 300 to 0
    assert worst_jain(service, {"a": 1, "b": 1}, {"a": [(0, 100_000)], "b": [(0, 65_000)]}) == pytest.approx(
        jain([300, 50])  # 35 to 65
    )
    assert worst_jain(service, {"a": 1, "b": 1}, {"a": [(0, 100_000)], "b": [(0, 29_000)]}) is None


def test_shares_have_converged_when_ten_seconds_from_then_on_are_within_five_points():
    # a gets half until 64 s, then three quarters; weights have changed at 60 s.
    service = {
        "a": Curve([0, 64_000, 100_000], [0, 640, 640 + 540]),
        "b": Curve([0, 64_000, 100_000], [0, 640, 640 + 180]),
    }
    target = {"a": 0.75, "b": 0.25}

    # From 62 s on, 2 of 10 s are at half and 8 at three quarters: 70 % together.
    after_s = convergence_s(service, target, 60_000, 100_000)
    assert after_s == pytest.approx(2.0, abs=0.11)
    assert convergence_s(service, {"a": 0.1, "b": 0.9}, 60_000, 100_000) is None


def test_a_gauge_knows_how_long_it_had_each_value_and_forgets_what_lasted_no_time():
    gauge = Gauge()
    for value, at_ms in ((2, 10.0), (3, 10.0), (1, 30.0), (1, 35.0), (0, 40.0)):
        gauge.set(value, at_ms)
    gauge.close(100.0)

    assert gauge.held_ms == {0: 70.0, 3: 20.0, 1: 10.0}
    assert gauge.changes == [(10.0, 3), (30.0, 1), (40.0, 0)]
    assert [held_percentile(gauge.held_ms, percent) for percent in (50, 70, 80, 99)] == [0, 0, 1, 3]


def test_entitlement_is_counted_from_one_change_of_weights_to_the_next():
    # 100 cost tokens a second; weights 1:1 until 50 s, then 3:1: a is due 2500 + 3750, b 2500 + 1250.
    log = [
        served("a", 0, 0, 50, 1250, seated_s=0),
        served("b", 0, 0, 50, 1250, seated_s=0),
        served("a", 0, 50, 100, 1875),
        served("b", 0, 50, 100, 625),
        served("a", 0, 100, 150, 5000),
        served("b", 0, 100, 150, 5000),
    ]
    result = measure(a_run(*log, ended_s=150, weight_changes=(WeightChange(50_000, "a", 3),)))

    assert [(one.share, one.entitled) for one in result.tenants] == [
        pytest.approx((0.625, 0.625)),
        pytest.approx((0.375, 0.375)),
    ]
    assert result.jain == pytest.approx(1.0)
    assert result.fair.convergence_s == (0.0,)


def test_nobody_is_due_more_than_it_asked_for():
    log = [
        served("modest", 0, 0, 10, 100),
        served("greedy", 0, 0, 100, 4900),
        served("greedy", 0, 100, 150, 5000),
    ]
    result = measure(a_run(*log, ended_s=150))

    assert [(one.tenant, one.entitled) for one in result.tenants] == [
        ("greedy", pytest.approx(0.98)),
        ("modest", pytest.approx(0.02)),
    ]


def test_who_left_early_is_due_no_more_than_it_took():
    gone = served("impatient", 0, 0, 10, 1000, leaves_after_ms=10_000)
    gone.outcome, gone.completion_tokens = Outcome.CLIENT_GONE_STREAMING, 100
    result = measure(a_run(gone, served("b", 0, 0, 100, 4900), served("b", 0, 100, 150, 5000), ended_s=150))

    assert result.tenant("impatient").entitled == pytest.approx(0.02)
    assert result.tenant("impatient").unserved == 1


def test_waits_and_first_tokens_count_from_the_arrival():
    log = [served("a", n, n + 5, n + 9, 10, seated_s=n + 1 + n // 9) for n in range(10)]
    tenant = measure(a_run(*log)).tenant("a")

    assert (tenant.wait_p50_s, tenant.wait_p99_s, tenant.wait_max_s) == (1, 2, 2)
    assert (tenant.ttft_p50_s, tenant.ttft_p99_s) == (5, 5)


def test_throughput_counts_prompts_once_and_answers_as_far_as_they_were_told():
    whole = Served(Arrival(0, "a", 300, 100), 0, 1_000, 10_000, Outcome.OK, 100)
    broken = Served(Arrival(0, "a", 300, 100), 0, 1_000, 4_000, Outcome.UPSTREAM_RESET, 40)
    never = Served(Arrival(0, "a", 300, 100), None, None, 5_000, Outcome.QUEUE_TIMEOUT)

    result = measure(a_run(whole, broken, never, ended_s=10))

    assert result.tokens_per_s == pytest.approx((400 + 340) / 10)
    assert result.outcomes == {"ok": 1, "queue_timeout": 1, "upstream_reset": 1}


def test_over_time_rates_are_means_around_each_step_and_waits_the_most_within():
    log = [
        served("a", 0, 10, 20, 500, seated_s=2),
        served("a", 1, 10, 20, 500, seated_s=9),
        served("b", 0, 1, 1, 1, seated_s=0),
    ]
    over = OverTime(a_run(*log, ended_s=20))

    assert over.tenants == ["a", "b"]
    assert over.rates(4, 5)["a"] == pytest.approx([0, 0, 100, 200, 100])
    assert over.shares(4, 5)["b"] == [1, None, 0, 0, 0]
    assert over.waiting(5) == {"a": [2, 1, 0, 0, 0], "b": [0, 0, 0, 0, 0]}


def test_tenants_beyond_the_first_seven_are_shown_together():
    over = OverTime(a_run(*(served(f"t{n}", 0, 0, 10, 100 - n) for n in range(9)), ended_s=10))

    assert over.tenants == [f"t{n}" for n in range(7)]
    assert over.rates(20, 10)["others"] == pytest.approx([(2 * 93 + 2 * 92) / 10, (2 * 93 + 2 * 92) / 20])
