"""What the simulator says about fairness, and that it says the same every time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.simulation.metrics import measure, percentile
from scheduling.simulation.scenario import UNLIMITED
from scheduling.simulation.service import jain
from scheduling.simulation.sharing import max_min
from scheduling.simulation.simulate import simulate
from scheduling.simulation.workloads import Overrides, make
from scheduling.simulation.workloads.own import flood, weighted
from scheduling.simulation.workloads.public import azure
from tests.unit.scheduling.fair_play import water_fill


def run(workload, fairness="token_fair", admission="first_token_window"):
    result = measure(simulate(workload, fairness, admission))
    return result, {tenant.tenant: tenant for tenant in result.tenants}


@pytest.fixture(scope="module")
def flooded():
    """A flood of 40 s under fifo and under token_fair."""
    return {fairness: run(flood(1, seconds=40), fairness) for fairness in ("fifo", "token_fair")}


def test_a_power_user_does_not_make_the_others_wait(flooded):
    fifo, fair = flooded["fifo"][1]["quiet"], flooded["token_fair"][1]["quiet"]

    assert fifo.wait_p99_s >= 20 * fair.wait_p99_s
    assert fair.ttft_p99_s < 1.0


def test_fairness_costs_no_throughput(flooded):
    assert flooded["token_fair"][0].tokens_per_s >= 0.97 * flooded["fifo"][0].tokens_per_s


def test_the_window_keeps_the_engines_own_queue_short_without_metrics(flooded):
    assert flooded["token_fair"][0].engine_queue_max <= 3


def test_without_admission_control_the_engines_queue_takes_the_order_out_of_our_hands(flooded):
    result, tenants = run(flood(1, seconds=40), admission=UNLIMITED)

    assert result.engine_queue_max > 500
    assert tenants["quiet"].ttft_p99_s > 20 * flooded["token_fair"][1]["quiet"].ttft_p99_s


def test_whole_answers_are_served_as_fast_as_streams_where_the_engine_is_read(flooded):
    workload = flood(1, seconds=40)
    whole = [replace(arrival, streams=arrival.tenant != "power") for arrival in workload.arrivals]
    result, tenants = run(replace(workload, arrivals=tuple(whole)))
    streamed = flooded["token_fair"][0]

    assert result.tokens_per_s >= 0.95 * streamed.tokens_per_s
    assert result.engine_queue_max < 64  # of thousands: the order stays in our hands
    assert tenants["quiet"].ttft_p99_s < 3.0


@pytest.mark.parametrize("seed", [1, 2])
def test_weights_three_to_one_share_tokens_three_to_one_though_sizes_differ(seed):
    result, tenants = run(weighted(seed))

    assert tenants["short"].share == pytest.approx(0.75, abs=0.03)
    assert result.jain > 0.999


def test_round_robin_gives_most_tokens_to_whoever_sends_the_longest_requests():
    result, tenants = run(weighted(1, seconds=40), "round_robin")

    assert tenants["long"].share > 0.6
    assert result.jain < 0.9


def test_two_overloading_tenants_get_the_same_however_much_they_ask():
    result, tenants = run(make("overload", 1, Overrides(seconds=90)))

    assert tenants["calm"].share == pytest.approx(0.5, abs=0.01)
    assert result.jain > 0.999


def test_light_tenants_of_a_real_mix_get_all_they_ask_for():
    result, tenants = run(azure(1, seconds=60))

    assert result.jain > 0.97
    assert tenants["tenant-10"].wait_p50_s < tenants["tenant-01"].wait_p50_s / 10


def test_the_same_seed_gives_the_same_result_and_another_seed_another():
    once, again, other = (run(azure(seed, seconds=20))[0] for seed in (3, 3, 4))

    assert once == again
    assert once != other


@pytest.mark.parametrize(
    ("demand", "weights", "capacity"),
    [
        ({"a": 2, "b": 8, "c": 10}, {"a": 1, "b": 1, "c": 2}, 14),
        ({"a": 5, "b": 0}, {"a": 1, "b": 3}, 4),
        ({"a": 5, "b": 5}, {"a": 1, "b": 3}, 100),
    ],
)
def test_what_tenants_are_entitled_to_agrees_with_filling_up_by_definition(demand, weights, capacity):
    assert max_min(demand, weights, capacity) == pytest.approx(water_fill(demand, weights, capacity))


def test_jain_and_percentiles_are_the_textbooks():
    assert jain([1, 1, 1]) == 1.0
    assert jain([1, 0, 0]) == pytest.approx(1 / 3)
    assert percentile(range(1, 101), 99) == 99
    assert percentile([7.0], 50) == 7.0
    assert percentile([], 99) == 0.0
