"""The engine that schedules inside, by arithmetic that can be done in the head, and its queues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduling.core.usage import cost_of
from scheduling.simulation.record import Served
from scheduling.simulation.scenario import Arrival, Workload
from scheduling.simulation.vtc.engine import InEngine
from scheduling.simulation.vtc.queues import QUEUES, EngineQueue, Fcfs, PredictedVtc, Rpm, Vtc
from tests.unit.simulation.pretend import ONE_MS

ASKS = st.lists(
    st.tuples(st.integers(0, 200), st.sampled_from("abc"), st.integers(1, 30), st.integers(1, 30)),
    min_size=1,
    max_size=40,
)


def played(asks: Sequence[tuple[int, str, int, int]], queue: EngineQueue | None = None, kv_tokens=100):
    """What became of (at_ms, tenant, prompt, completion), with a millisecond for every step."""
    arrivals = tuple(Arrival(*ask) for ask in sorted(asks))
    workload = Workload("test", arrivals, 0, 1000)
    return InEngine(workload, queue or Fcfs(), replace(ONE_MS, kv_tokens=kv_tokens)).run()


def times(served):
    return [(one.seated_ms, one.first_token_ms, one.ended_ms) for one in served]


def test_the_first_token_comes_with_the_prompt_and_each_further_one_takes_a_step():
    assert times(played([(5, "a", 10, 1), (50, "b", 10, 4)])) == [(5, 6, 6), (50, 51, 54)]


def test_a_prompt_stops_all_others_and_is_tried_after_ten_steps():
    # a: prompt until 1, ten tokens until 11, then b's prompt until 12, and a's last four.
    assert times(played([(0, "a", 10, 15), (1, "b", 10, 2)])) == [(0, 1, 16), (11, 12, 13)]


def test_who_does_not_fit_at_full_length_waits_and_nobody_passes():
    # a grows to 60 of 100: b (50) would fit now, not later; c is small and has to wait behind it.
    a, b, c = times(played([(0, "a", 30, 30), (1, "b", 30, 20), (2, "c", 1, 1)]))

    assert b[0] == c[0]
    assert b[0] > 11
    assert b[0] < a[2]  # it comes in as soon as a would end before both are too long


def test_who_would_never_fit_is_an_error_and_no_silence():
    with pytest.raises(ValueError, match=r"60 \+ 50 tokens never fit"):
        played([(0, "a", 10, 10), (5, "b", 60, 50)])


def test_prompts_of_one_step_are_bounded():
    first, second = times(played([(0, "a", 2000, 1), (0, "b", 2000, 1)], kv_tokens=10_000))

    assert (first[0], second[0]) == (0, 1)


@pytest.mark.parametrize("name", QUEUES)
@given(asks=ASKS)
def test_under_every_queue_everybody_ends_who_is_not_refused(name, asks):
    served = played(asks, QUEUES[name]({"b": 2}, 1))
    accepted = [one for one in served if one.seated_ms is not None]

    assert len(served) == len(asks)
    assert name.startswith("RPM") or len(accepted) == len(asks)
    assert all(one.arrival.at_ms <= one.seated_ms < one.first_token_ms <= one.ended_ms for one in accepted)


class Watched(Fcfs):
    """Adds up what memory holds: prompts, and of each answer all tokens but the last."""

    def __init__(self):
        super().__init__()
        self.running, self.most = {}, 0

    def said(self, served, tokens):
        self.running[id(served)] = (served, self.running.get(id(served), (served, 0))[1] + tokens)
        held = sum(one.arrival.prompt_tokens + count - 1 for one, count in self.running.values())
        self.most = max(self.most, held)

    def head(self):
        self.running = {
            key: (one, count)
            for key, (one, count) in self.running.items()
            if count < one.arrival.completion_tokens
        }
        return super().head()


@given(asks=ASKS)
def test_memory_never_overflows_and_nobody_is_preempted_for_it(asks):
    queue = Watched()

    played(asks, queue)

    assert 0 < queue.most < 100


@given(asks=ASKS, error=st.floats(0, 0.9))
def test_a_wrong_prediction_is_settled_to_what_was_served(asks, error):
    queue = PredictedVtc({"b": 2}, error, 1)
    queue._lifts = False

    played(asks, queue)

    for tenant in {tenant for _, tenant, _, _ in asks}:
        cost = sum(cost_of(prompt, completion) for _, name, prompt, completion in asks if name == tenant)
        assert queue._counters[tenant] == pytest.approx(cost / (2 if tenant == "b" else 1))


def waiting(queue, *asks):
    for n, (tenant, prompt) in enumerate(asks):
        queue.push(Served(Arrival(n, tenant, prompt, 1)))
    return queue


def taken(queue):
    order = []
    while head := queue.head():
        order.append(head.arrival.tenant)
        queue.take()
    return "".join(order)


def test_vtc_takes_the_least_served_and_weights_divide_the_charge():
    assert taken(waiting(Vtc({}), ("a", 10), ("a", 10), ("a", 10), ("b", 20), ("b", 20))) == "abaab"
    assert taken(waiting(Vtc({"a": 2}), *[("a", 10)] * 4, *[("b", 10)] * 2)) == "abaaba"


def test_idleness_earns_no_credit_but_without_the_lift():
    def after_idleness(queue):
        waiting(queue, *[("a", 10)] * 20)
        for _ in range(10):
            queue.take()
        return taken(waiting(queue, *[("b", 10)] * 10))

    assert after_idleness(Vtc({})).startswith("abab")
    assert after_idleness(Vtc({}, lift=False)).startswith("b" * 10)


def test_who_comes_to_an_empty_line_is_lifted_to_whoever_left_last():
    queue = waiting(Vtc({}), ("a", 100))
    queue.take()

    # Equals go by name. From nothing, b would have had two turns first.
    assert taken(waiting(queue, *[("b", 60)] * 3, *[("a", 60)] * 3)) == "ababab"


def test_rpm_refuses_whoever_had_its_number_within_a_minute():
    queue = Rpm(2)
    for at_ms in (0, 10, 20, 60_000, 60_001, 60_005, 60_011):
        queue.push(Served(Arrival(at_ms, "a", 1, 1)))
    queue.push(Served(Arrival(60_012, "b", 1, 1)))

    accepted = []
    while head := queue.head():
        accepted.append(head.arrival.at_ms)
        queue.take()
    assert accepted == [0, 10, 60_001, 60_011, 60_012]
