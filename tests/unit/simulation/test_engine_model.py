"""The batching machine does what vLLM v1 does, step by step, in pretend time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.simulation.engine.profiles import PROFILES
from scheduling.simulation.engine.request import (
    EngineRequest,
    Finish,
    QueueFull,
    SchedulingPolicy,
)
from tests.unit.simulation.pretend import ROOMY, ask, engine, finish_order, steps


def test_a_request_says_exactly_its_tokens_one_a_step():
    model = engine()
    model.submit(ask("a", prompt=10, output=3), 0)

    assert steps(model, 3) == [[("a", 1)], [("a", 2)], [("a", 3)]]
    assert (model.running, model.waiting, model.due_ms) == (0, 0, None)


def test_the_end_says_why_length_when_the_client_cut_it_stop_when_the_model_ended():
    model = engine()
    model.submit(EngineRequest("cut", 10, 1, 1), 0)
    model.submit(EngineRequest("ended", 10, 1, 50), 0)
    model.advance(0)

    assert [p.finish for p in model.advance(1)] == [Finish.LENGTH, Finish.STOP]


def test_requests_share_each_step_and_a_newcomer_joins_the_next_one():
    model = engine()
    model.submit(ask("a"), 0)
    model.advance(0)
    model.submit(ask("b"), 0.5)

    assert (model.running_ids(), model.waiting_ids()) == (("a",), ("b",))
    assert [p.request_id for p in model.advance(1)] == ["a"]
    assert (model.running_ids(), model.waiting_ids()) == (("a", "b"), ())
    assert [p.request_id for p in model.advance(2)] == ["a", "b"]


def test_no_more_run_at_once_than_max_num_seqs():
    model = engine(max_num_seqs=2)
    for name in "abc":
        model.submit(ask(name, output=2), 0)

    assert steps(model, 4) == [[("a", 1), ("b", 1)], [("a", 2), ("b", 2)], [("c", 1)], [("c", 2)]]


def test_a_long_prompt_is_computed_in_chunks_of_the_token_budget():
    model = engine(max_num_batched_tokens=100)
    model.submit(ask("long", prompt=250, output=1), 0)

    assert steps(model, 3) == [[], [], [("long", 1)]]


def test_a_prefill_shares_its_steps_with_those_that_decode():
    model = engine(max_num_batched_tokens=100)
    model.submit(ask("short", prompt=10, output=5), 0)
    steps(model, 1)
    model.submit(ask("long", prompt=198, output=1), 1)
    model.advance(model.due_ms)  # ends the step that began without it

    said = [[p.request_id for p in model.advance(model.due_ms)] for _ in range(2)]

    assert said == [["short"], ["short", "long"]]  # 99 of its tokens beside one of the decode, twice


def test_the_gauges_are_exact_at_each_step():
    model = engine(max_num_seqs=1, kv_tokens=1008, block_size=16)
    model.submit(ask("a", prompt=16, output=2), 0)
    model.submit(ask("b", prompt=33, output=1), 0)

    seen = [(model.running, model.waiting, model.memory.used)]
    model.advance(0)
    seen.append((model.running, model.waiting, model.memory.used))
    while model.due_ms is not None:
        model.advance(model.due_ms)
        seen.append((model.running, model.waiting, model.memory.used))

    assert seen == [(0, 2, 0), (1, 1, 1), (1, 1, 2), (1, 0, 3), (0, 0, 0)]


def test_fcfs_admits_in_order_of_arrival_and_ignores_priority():
    model = engine(max_num_seqs=1)
    for name, priority in (("a", 9), ("b", 5), ("c", 0)):
        model.submit(ask(name, priority=priority), 0)

    assert finish_order(model) == ["a", "b", "c"]


def test_priority_overtakes_those_that_wait_but_not_those_that_run():
    """As recorded on vLLM 0.32: 12 low then 2 high, 4 seats: low0-3, HIGH0, HIGH1, low4 …"""
    model = engine(max_num_seqs=4, scheduling_policy=SchedulingPolicy.PRIORITY)
    for n in range(12):
        model.submit(ask(f"low{n}", priority=10), 0)
    model.advance(0)
    model.submit(ask("HIGH0", priority=0), 0.1)
    model.submit(ask("HIGH1", priority=0), 0.2)

    order = finish_order(model)

    assert order[:8] == ["low0", "low1", "low2", "low3", "HIGH0", "HIGH1", "low4", "low5"]
    assert model.stats.preemptions == 0


def test_equal_priorities_go_by_arrival():
    model = engine(max_num_seqs=1, scheduling_policy=SchedulingPolicy.PRIORITY)
    for name in ("first", "second", "third"):
        model.submit(ask(name, priority=3), 0)

    assert finish_order(model) == ["first", "second", "third"]


def test_abort_while_running_frees_seat_and_memory_at_once():
    model = engine(max_num_seqs=1)
    model.submit(ask("a", prompt=100), 0)
    model.submit(ask("b"), 0)
    model.advance(0)
    assert model.memory.used == 7

    assert model.abort("a", 0.5) is True
    assert (model.running, model.memory.used) == (0, 0)
    assert model.advance(1) == []  # the step in flight says nothing for it
    assert model.running_ids() == ("b",)


def test_abort_while_waiting_leaves_the_line_at_once():
    model = engine(max_num_seqs=1)
    for name in "abc":
        model.submit(ask(name), 0)
    model.advance(0)

    model.abort("b", 0.5)

    assert model.waiting_ids() == ("c",)
    assert finish_order(model) == ["a", "c"]
    assert model.stats.success[Finish.ABORT] == 1


def test_abort_of_an_unknown_or_ended_request_is_nothing():
    model = engine()
    model.submit(ask("a", output=1), 0)
    finish_order(model)

    assert model.abort("a", 5) is False
    assert model.abort("never seen", 5) is False


def test_a_full_engine_refuses_counting_those_that_run_too():
    model = engine(max_num_seqs=1, max_num_queued_reqs=2)
    model.submit(ask("a"), 0)
    model.advance(0)
    model.submit(ask("b"), 0)

    with pytest.raises(QueueFull):
        model.submit(ask("c"), 0)
    assert (model.running, model.waiting, model.stats.rejections) == (1, 1, 1)


def test_an_embedding_is_computed_and_says_nothing():
    model = engine()
    model.submit(EngineRequest("e", 10, 0, 0), 0)
    model.advance(0)

    (progress,) = model.advance(model.due_ms)

    assert (progress.output_tokens, progress.finish) == (0, Finish.STOP)
    assert model.stats.generation_tokens == 0


def test_a_step_is_not_over_before_it_is_due():
    model = engine(costs=PROFILES["a100-8b"])
    model.submit(ask("a"), 100)
    model.advance(100)

    assert model.advance(model.due_ms - 0.001) == []
    assert len(model.advance(model.due_ms)) == 1


def test_step_time_is_weights_or_arithmetic_plus_memory_plus_host():
    costs = PROFILES["a10g-7b"]

    assert costs.step_ms(1, 1, 1) == pytest.approx(16.3 + 0.244 + 0.00202 + 3.4)
    assert costs.step_ms(1, 1000, 1000) == pytest.approx(213 + 2.02 + 3.4)
    assert costs.faster(10).step_ms(1, 1000, 1000) == pytest.approx((213 + 2.02 + 3.4) / 10)


def test_times_are_counted_from_arrival_over_seat_and_first_token_to_the_end():
    model = engine(max_num_seqs=1)
    model.submit(ask("a", output=2), 0)
    model.submit(ask("b", output=3), 0)
    finish_order(model)

    stats = model.stats
    assert stats.time_to_first_token.total == pytest.approx((1 + 3) / 1000)
    assert stats.queue_time.total == pytest.approx((0 + 2) / 1000)
    assert stats.decode_time.total == pytest.approx((1 + 2) / 1000)
    assert stats.e2e_latency.total == pytest.approx((2 + 5) / 1000)
    assert stats.inter_token_latency.count == 3
    assert stats.success[Finish.LENGTH] == 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"max_num_seqs": 0}, "max_num_seqs"),
        ({"max_model_len": 99_999}, "max_model_len"),
        ({"max_num_queued_reqs": 0}, "max_num_queued_reqs"),
        ({"block_size": -1}, "block_size"),
    ],
)
def test_a_wrong_limit_is_refused_by_name(change, field):
    with pytest.raises(ValueError, match=field):
        replace(ROOMY, **change)


@pytest.mark.parametrize(
    "request_",
    [ask("too long", prompt=990, output=11), ask("taken"), EngineRequest("empty", 0, 1, 1)],
    ids=lambda request: request.request_id,
)
def test_a_request_that_could_never_end_is_refused(request_):
    model = engine()
    model.submit(ask("taken"), 0)

    with pytest.raises(ValueError):
        model.submit(request_, 0)
    assert model.waiting == 1
