"""What the scheduler promises in figures, over ten seeds of simulated traffic.

The engine's seats are known to the gateway, as a backend's ``max_in_flight`` says them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from scheduling.core.policy import ClassRule
from scheduling.simulation.metrics import measure, percentile
from scheduling.simulation.scenario import UNLIMITED, Scenario
from scheduling.simulation.simulate import play
from scheduling.simulation.workloads import make

SEEDS = range(1, 11)
SEATS = 64
CLASSES = {
    "interactive": ClassRule("interactive", 0, reserved_seats=2),
    "batch": ClassRule("batch", 1, max_wait_ms=300_000),
}


@cache
def flood(kind: str) -> tuple[float, float]:
    """The quiet tenant's p99 time to the first token over all seeds, and the mean tokens per second."""
    first_tokens_s, tokens_per_s = [], []
    for seed in SEEDS:
        run = play(scenario(kind, seed))
        tokens_per_s.append(measure(run).tokens_per_s)
        first_tokens_s += [
            (one.first_token_ms - one.arrival.at_ms) / 1000
            for one in run.served
            if one.arrival.tenant == "quiet"
        ]
    return percentile(first_tokens_s, 99), sum(tokens_per_s) / len(SEEDS)


def scenario(kind: str, seed: int) -> Scenario:
    workload = make("flood", seed)
    workload = replace(workload, engines=(replace(workload.engines[0], max_in_flight=SEATS),))
    if kind == "alone":
        return Scenario(workload.alone("quiet"))
    if kind != "classes":
        return Scenario(workload, admission=kind)
    in_classes = tuple(
        replace(one, priority_class="interactive" if one.tenant == "quiet" else "batch")
        for one in workload.arrivals
    )
    return Scenario(replace(workload, arrivals=in_classes), classes=CLASSES)


@pytest.mark.parametrize(
    ("kind", "most"), [pytest.param("first_token_window", 12, id="without classes"), ("classes", 4)]
)
def test_a_flood_makes_the_quiet_tenants_first_token_at_most_so_many_times_later(kind, most):
    assert flood(kind)[0] / flood("alone")[0] <= most


@pytest.mark.parametrize("kind", ["first_token_window", "classes"])
def test_fairness_keeps_97_percent_of_unlimited_throughput(kind):
    assert flood(kind)[1] >= 0.97 * flood(UNLIMITED)[1]


@pytest.mark.parametrize("name", ["overload", "overload-weighted"])
def test_in_overload_shares_are_as_good_as_exact(name):
    assert min(measure(play(Scenario(make(name, seed)))).jain for seed in SEEDS) >= 0.999


def test_after_a_weight_change_shares_are_right_within_five_seconds():
    results = [measure(play(Scenario(make("weight-change", seed)))) for seed in SEEDS]
    found = [after_s for result in results for after_s in result.fair.convergence_s]

    assert len(found) == len(SEEDS)
    assert all(after_s is not None and after_s <= 5 for after_s in found)
