"""The batching machine does what vLLM v1 does, step by step, in pretend time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduling.simulation.engine.model import EngineModel
from scheduling.simulation.engine.profiles import PROFILES, StepCosts
from scheduling.simulation.engine.request import (
    EngineConfig,
    EngineRequest,
    Finish,
    QueueFull,
    SchedulingPolicy,
)

# One millisecond a step whatever is in it: the arithmetic can be done in the head.
ONE_MS = StepCosts(
    floor_ms=1, floor_per_seq_ms=0, slope_us_per_token=0, kv_us_per_token=0, host_ms=0, kv_tokens=0
)
ROOMY = EngineConfig(max_num_seqs=4, kv_tokens=16_000, max_model_len=1000, max_num_batched_tokens=100)


def ask(name, prompt=10, output=3, priority=0, hashes=()):
    return EngineRequest(name, prompt, output, output, priority, tuple(hashes))


def engine(costs=ONE_MS, **changes):
    return EngineModel(replace(ROOMY, **changes), costs)


def steps(model, count):
    """Let ``count`` steps end, each exactly when it is due; what was said in each."""
    said = []
    if model.due_ms is None:
        model.advance(0)
    for _ in range(count):
        said.append([(p.request_id, p.output_tokens) for p in model.advance(model.due_ms)])
    return said


def finish_order(model):
    order = []
    if model.due_ms is None:
        model.advance(0)
    while model.due_ms is not None:
        order += [p.request_id for p in model.advance(model.due_ms) if p.finish]
    return order


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


def tight(**changes):
    """Four blocks of 16 tokens: three prompts of 16 fit, but not all their answers."""
    return engine(kv_tokens=64, max_model_len=64, **changes)


def test_under_kv_pressure_the_last_running_is_preempted_and_goes_to_the_front_of_the_line():
    model = tight(max_num_seqs=3)
    for name in "abcd":
        model.submit(ask(name, prompt=16, output=20), 0)
    model.advance(0)
    assert model.running_ids() == ("a", "b", "c")

    model.advance(model.due_ms)  # all need a second block; only one is free

    assert model.stats.preemptions == 1
    assert model.running_ids() == ("a", "b")
    assert model.waiting_ids() == ("c", "d")


def test_under_priority_the_worst_priority_is_preempted_whenever_it_came():
    model = tight(max_num_seqs=3, scheduling_policy=SchedulingPolicy.PRIORITY)
    for name, priority in (("worst", 9), ("best", 0), ("middle", 5)):
        model.submit(ask(name, prompt=16, output=20, priority=priority), 0)
    model.advance(0)

    model.advance(model.due_ms)

    assert "worst" not in model.running_ids()
    assert model.waiting_ids()[0] == "worst"


def test_a_sequence_that_preempts_itself_does_not_stop_the_engine():
    model = engine(
        kv_tokens=32, max_model_len=32, max_num_seqs=2, scheduling_policy=SchedulingPolicy.PRIORITY
    )
    model.submit(ask("worst", prompt=16, output=10, priority=9), 0)
    model.submit(ask("best", prompt=8, output=4, priority=0), 0)

    assert finish_order(model) == ["best", "worst"]


def test_a_preempted_request_computes_everything_again_and_still_says_each_token_once():
    model = tight(max_num_seqs=3)
    for name in "abc":
        model.submit(ask(name, prompt=16, output=20), 0)

    said = {name: [] for name in "abc"}
    model.advance(0)
    while model.due_ms is not None:
        for progress in model.advance(model.due_ms):
            said[progress.request_id].append(progress.output_tokens)

    assert said == {name: list(range(1, 21)) for name in "abc"}
    assert model.stats.preemptions > 0
    assert model.stats.prompt_tokens == 48  # a recomputed prompt is not counted twice


def test_nothing_is_admitted_in_a_step_that_preempted():
    model = tight(max_num_seqs=4)
    for name in "abc":
        model.submit(ask(name, prompt=16, output=20), 0)
    model.advance(0)
    model.submit(ask("small", prompt=1, output=1), 0.5)

    model.advance(model.due_ms)

    assert model.stats.preemptions == 1
    assert "small" in model.waiting_ids()


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


def test_an_equal_beginning_is_computed_once_and_the_rest_is_new():
    model = engine()
    model.submit(ask("first", prompt=40, output=1, hashes=(1, 2)), 0)
    finish_order(model)
    model.submit(ask("second", prompt=40, output=1, hashes=(1, 2)), 5)
    model.submit(ask("other", prompt=40, output=1, hashes=(1, 3)), 5)
    model.advance(5)

    cached = {p.request_id: p.cached_tokens for p in model.advance(model.due_ms)}

    assert cached == {"second": 32, "other": 16}
    assert (model.stats.prefix_queries, model.stats.prefix_hits) == (120, 48)


def test_a_fully_cached_prompt_still_computes_its_last_block():
    model = engine()
    model.submit(ask("first", prompt=32, output=1, hashes=(1, 2)), 0)
    finish_order(model)
    model.submit(ask("again", prompt=32, output=1, hashes=(1, 2)), 5)
    model.advance(5)

    assert [p.cached_tokens for p in model.advance(model.due_ms)] == [16]


def test_cached_blocks_count_as_free_and_give_way_when_room_is_needed():
    model = engine(kv_tokens=64, max_model_len=64)
    model.submit(ask("first", prompt=33, output=1, hashes=(1, 2)), 0)
    finish_order(model)
    assert model.memory.usage == 0

    model.submit(ask("big", prompt=60, output=1), 5)
    finish_order(model)
    model.submit(ask("first again", prompt=33, output=1, hashes=(1, 2)), 9)
    model.advance(9)

    assert [p.cached_tokens for p in model.advance(model.due_ms)] == [0]


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


histories = st.lists(
    st.one_of(
        st.tuples(
            st.just("submit"), st.integers(1, 40), st.integers(0, 20), st.integers(-2, 2), st.integers(0, 3)
        ),
        st.tuples(st.just("step")),
        st.tuples(st.just("abort"), st.integers(0, 30)),
    ),
    min_size=5,
    max_size=60,
)


class Player:
    """Plays a history and remembers what became of each request."""

    def __init__(self, policy):
        self.model = engine(
            kv_tokens=96,
            max_model_len=64,
            max_num_seqs=3,
            max_num_batched_tokens=24,
            scheduling_policy=policy,
        )
        self.fate = {}
        self.now = 0.0

    def submit(self, prompt, output, priority, family):
        name = f"r{len(self.fate)}"
        hashes = tuple((family, n) for n in range(prompt // 16))
        self.model.submit(ask(name, prompt, output, priority, hashes), self.now)
        self.fate[name] = output

    def abort(self, number):
        if self.model.abort(f"r{number}", self.now):
            self.fate[f"r{number}"] = "aborted"

    def step(self):
        self.now = self.model.due_ms or self.now
        for progress in self.model.advance(self.now):
            if progress.finish:
                assert progress.output_tokens == self.fate[progress.request_id]
                self.fate[progress.request_id] = "ended"
        assert self.model.running <= 3
        assert 0 <= self.model.memory.used <= 6


@settings(max_examples=150, deadline=None)
@given(history=histories, policy=st.sampled_from(SchedulingPolicy))
def test_no_history_loses_a_request_or_a_block(history, policy):
    player = Player(policy)

    for name, *arguments in history:
        getattr(player, name)(*arguments)
    for _ in range(4000):
        if not player.model.running + player.model.waiting and player.model.due_ms is None:
            break
        player.step()

    assert set(player.fate.values()) <= {"ended", "aborted"}
    assert (player.model.running, player.model.waiting, player.model.memory.used) == (0, 0, 0)
