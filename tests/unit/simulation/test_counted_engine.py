"""The engine that counts steps is the one that makes them: same tokens, same times, same memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduling.simulation.engine.counted import CountedEngine
from scheduling.simulation.engine.model import EngineModel
from scheduling.simulation.engine.profiles import PROFILES
from scheduling.simulation.engine.request import EngineConfig, SchedulingPolicy
from tests.unit.simulation.pretend import ONE_MS, ROOMY, ask

COSTS = PROFILES["a10g-7b"]
LONGEST = 256


@st.composite
def happenings(draw):
    """Requests and clients that leave, in order of time, for an engine of some size and policy."""
    config = EngineConfig(
        max_num_seqs=draw(st.integers(1, 6)),
        scheduling_policy=draw(st.sampled_from(SchedulingPolicy)),
        max_num_batched_tokens=draw(st.sampled_from([8, 40, 300])),
        kv_tokens=draw(st.sampled_from([LONGEST, 320, 4000])),
        block_size=draw(st.sampled_from([1, 16])),
        max_model_len=LONGEST,
        hash_blocks=draw(st.sampled_from([1, 2])),
    )
    times = st.tuples(st.integers(0, 600), st.integers(1, 100), st.integers(1, 150))
    asks = draw(st.lists(st.tuples(times, st.integers(0, 2), st.integers(0, 2)), max_size=14))
    inputs = [
        (at, "submit", ask(f"r{n}", prompt, output, priority, beginnings(config, prompt, family)))
        for n, ((at, prompt, output), priority, family) in enumerate(sorted(asks))
    ]
    leaving = draw(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 13)), max_size=6))
    inputs += [(at, "abort", f"r{n}") for at, n in leaving if n < len(asks)]
    return config, sorted(inputs, key=lambda each: each[0])


def beginnings(config, prompt, family):
    """Hashes of a prompt that begins as all of its family; those of family 0 share nothing."""
    whole = prompt // (config.block_size * config.hash_blocks)
    return [family * 1000 + n for n in range(whole)] if family else []


class Counted:
    """The counted engine under the stepping one's names."""

    def __init__(self, config):
        self.engine = CountedEngine(config, COSTS)
        self.inside = set()

    def submit(self, request, now_ms):
        self.engine.submit(request)
        self.inside.add(request.request_id)
        if self.engine.due_ms is None:
            self.engine.advance(now_ms)

    def abort(self, name, now_ms):
        if name in self.inside:
            self.inside.remove(name)
            self.engine.abort(name)

    def until(self, now_ms):
        engine = self.engine
        while engine.due_ms is not None and engine.due_ms < now_ms:
            for progress in engine.advance(engine.due_ms, now_ms):
                yield progress, engine.ended_ms
                if progress.finish:
                    self.inside.remove(progress.request_id)

    def state(self):
        engine = self.engine
        return (engine.running, engine.waiting, engine.memory.used, engine.preemptions, engine.due_ms)


class Stepping:
    """The stepping engine, of which only first and last tokens are heard."""

    def __init__(self, config):
        self.engine = EngineModel(config, COSTS)

    def submit(self, request, now_ms):
        self.engine.submit(request, now_ms)
        if self.engine.due_ms is None:
            self.engine.advance(now_ms)

    def abort(self, name, now_ms):
        self.engine.abort(name, now_ms)

    def until(self, now_ms):
        while self.engine.due_ms is not None and self.engine.due_ms < now_ms:
            due_ms = self.engine.due_ms
            for progress in self.engine.advance(due_ms):
                if progress.output_tokens == 1 or progress.finish:
                    yield progress, due_ms

    def state(self):
        engine = self.engine
        return (
            engine.running,
            engine.waiting,
            engine.memory.used,
            engine.stats.preemptions,
            engine.due_ms,
        )


def play(driven, inputs):
    """First and last tokens with their times, and how the engine stood after each input and at the end."""
    said, states = [], []
    for at, kind, what in inputs:
        said += driven.until(at)
        (driven.submit if kind == "submit" else driven.abort)(what, at)
        states.append(driven.state())
    said += driven.until(float("inf"))
    return said, [*states, driven.state()]


@settings(max_examples=300, deadline=None)
@given(happenings())
def test_counting_steps_gives_the_same_tokens_times_and_memory_as_making_them(case):
    config, inputs = case
    said, states = play(Counted(config), inputs)

    assert (said, states) == play(Stepping(config), inputs)  # to the last bit: the same sums in one order
    assert states[-1][2] == 0


def test_who_has_no_turn_because_another_preempted_itself_goes_on_in_the_next_step():
    config = EngineConfig(
        max_num_seqs=3, scheduling_policy=SchedulingPolicy.PRIORITY, kv_tokens=64, max_model_len=64
    )
    # All three need a second block at once and one is free: the first takes it, and the second, which is
    # the worst, has to go.
    inputs = [(0, "submit", ask(f"r{n}", 16, 20, priority)) for n, priority in enumerate((0, 9, 5))]

    assert play(Counted(config), inputs) == play(Stepping(config), inputs)


def squeezed(policy):
    """Six requests of two priorities on an engine whose memory holds two of them whole."""
    config = EngineConfig(
        max_num_seqs=4,
        scheduling_policy=policy,
        kv_tokens=LONGEST,
        max_model_len=LONGEST,
        max_num_batched_tokens=40,
    )
    inputs = [(n, "submit", ask(f"r{n}", 60 + n, 50, n % 2)) for n in range(6)]
    return config, inputs


@pytest.mark.parametrize("policy", SchedulingPolicy)
def test_counting_gives_the_same_when_memory_runs_out_again_and_again(policy):
    config, inputs = squeezed(policy)
    said, states = play(counted := Counted(config), inputs)

    assert (said, states) == play(Stepping(config), inputs)
    assert counted.engine.preemptions >= 2


def test_prompts_that_begin_alike_are_computed_once():
    config = EngineConfig(max_num_seqs=1, kv_tokens=4000, max_model_len=LONGEST)
    inputs = [(n, "submit", ask(f"r{n}", 100, 5, 0, beginnings(config, 100, 1))) for n in range(3)]
    counted, stepping = Counted(config), Stepping(config)

    assert play(counted, inputs) == play(stepping, inputs)
    assert (counted.engine.prompt_tokens, counted.engine.cached_tokens) == (300, 2 * 96)
    assert stepping.engine.stats.prefix_hits == 2 * 96


def test_the_time_per_token_is_that_of_the_stepping_engine():
    config = EngineConfig(max_num_seqs=4, kv_tokens=4000, max_model_len=LONGEST)
    inputs = [(n * 37, "submit", ask(f"r{n}", prompt=20 + n, output=30 + n)) for n in range(12)]
    counted, stepping = Counted(config), Stepping(config)
    play(counted, inputs)
    play(stepping, inputs)

    latency = stepping.engine.stats.inter_token_latency
    assert counted.engine.decode_tokens == latency.count
    assert counted.engine.decode_ms / 1000 == pytest.approx(latency.total)


def test_ends_of_one_step_come_in_the_order_of_seats():
    engine = CountedEngine(ROOMY, ONE_MS)
    for name, output in (("a", 3), ("b", 3), ("c", 1)):
        engine.submit(ask(name, output=output))
    engine.advance(0)

    said = [engine.advance(engine.due_ms, 100.0) for _ in range(2)]

    assert [[(one.request_id, one.output_tokens) for one in step] for step in said] == [
        [("a", 1), ("b", 1), ("c", 1)],
        [("a", 3), ("b", 3)],
    ]
    assert engine.ended_ms == 3


def test_it_stops_before_the_time_it_is_given():
    engine = CountedEngine(ROOMY, ONE_MS)
    engine.submit(ask("a", output=50))
    engine.advance(0)
    engine.advance(1, 1)

    assert not engine.advance(2, 10.0)
    assert (engine.ended_ms, engine.due_ms, engine.told()) == (9, 10, [("a", 9)])


def test_who_leaves_says_how_much_it_was_told_and_a_crash_loses_all():
    engine = CountedEngine(replace(ROOMY, max_num_seqs=2), ONE_MS)
    for name in "abc":
        engine.submit(ask(name, output=50))
    engine.advance(0)
    engine.advance(1, 1)
    engine.advance(2, 10.0)

    assert engine.abort("a") == 9
    assert engine.crash() == [("b", 9), ("c", 0)]
    assert (engine.running, engine.waiting, engine.memory.used, engine.due_ms) == (0, 0, 0, None)


def test_what_it_cannot_count_is_refused():
    with pytest.raises(ValueError, match="max_num_batched_tokens"):
        CountedEngine(replace(ROOMY, max_num_seqs=101), ONE_MS)
    engine = CountedEngine(ROOMY, ONE_MS)
    engine.submit(ask("taken"))
    for wrong in (ask("taken"), ask("empty", output=0), ask("long", prompt=999)):
        with pytest.raises(ValueError):
            engine.submit(wrong)
    assert engine.waiting == 1
