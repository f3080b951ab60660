"""KV memory: who is preempted when it runs out, what is shared, and that nothing is ever lost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduling.simulation.engine.request import SchedulingPolicy
from tests.unit.simulation.pretend import ask, engine, finish_order


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
