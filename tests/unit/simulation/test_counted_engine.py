"""The engine that counts steps says what the one that makes them says: same tokens, same times, same memory."""

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
    """Requests and clients that leave, in order of time, for an engine of some size."""
    config = EngineConfig(
        max_num_seqs=draw(st.integers(1, 6)),
        max_num_batched_tokens=draw(st.sampled_from([8, 40, 300])),
        kv_tokens=draw(st.sampled_from([LONGEST, 400, 4000])),
        block_size=draw(st.sampled_from([1, 16])),
        max_model_len=LONGEST,
    )
    asks = draw(
        st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 120), st.integers(1, 60)), max_size=14)
    )
    inputs = [(at, "submit", ask(f"r{n}", prompt=p, output=o)) for n, (at, p, o) in enumerate(sorted(asks))]
    leaving = draw(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 13)), max_size=6))
    inputs += [(at, "abort", f"r{n}") for at, n in leaving if n < len(asks)]
    return config, sorted(inputs, key=lambda each: each[0])


def play_steps(config, inputs):
    """All that the stepping engine says, and its memory, sequences and preemptions after each input."""
    engine, said, states = EngineModel(config, COSTS), [], []

    def until(now_ms):
        while engine.due_ms is not None and engine.due_ms < now_ms:
            due_ms = engine.due_ms
            for progress in engine.advance(due_ms):
                if progress.output_tokens == 1:
                    said.append(("first", progress.request_id, due_ms))
                if progress.finish:
                    said.append(("end", progress.request_id, due_ms))

    for at, kind, what in inputs:
        until(at)
        if kind == "submit":
            engine.submit(what, at)
            if engine.due_ms is None:
                engine.advance(at)
        else:
            engine.abort(what, at)
        states.append(
            (engine.running, engine.waiting, engine.memory.used, engine.stats.preemptions, engine.due_ms)
        )
    until(float("inf"))
    return said, states, engine.stats.generation_tokens, engine.memory.used


def play_counted(config, inputs):
    engine, said, states = CountedEngine(config, COSTS), [], []
    inside = set()

    def until(now_ms):
        while engine.due_ms is not None and engine.due_ms < now_ms:
            news = engine.advance(engine.due_ms, now_ms)
            said.extend(("first", name, engine.ended_ms) for name in news.first)
            said.extend(("end", name, engine.ended_ms) for name in news.ended)
            inside.difference_update(news.ended)

    for at, kind, what in inputs:
        until(at)
        if kind == "submit":
            engine.submit(what, at)
            inside.add(what.request_id)
            if engine.due_ms is None:
                engine.advance(at)
        elif what in inside:
            inside.remove(what)
            engine.abort(what)
        states.append((engine.running, engine.waiting, engine.used_blocks, engine.preemptions, engine.due_ms))
    until(float("inf"))
    return said, states, engine.completion_tokens, engine.used_blocks


@settings(max_examples=300, deadline=None)
@given(happenings())
def test_counting_steps_gives_the_same_tokens_times_and_memory_as_making_them(case):
    steps, counted = play_steps(*case), play_counted(*case)

    assert sorted(counted[0]) == sorted(steps[0])  # to the last bit: the same sums in the same order
    assert counted[1:] == steps[1:]
    assert counted[3] == 0


def test_ends_of_one_step_come_in_the_order_of_seats():
    engine = CountedEngine(ROOMY, ONE_MS)
    for name, output in (("a", 3), ("b", 3), ("c", 2)):
        engine.submit(ask(name, output=output), 0)
    engine.advance(0)

    said = [engine.advance(engine.due_ms, 100.0) for _ in range(3)]

    assert [(news.first, news.ended) for news in said] == [
        (["a", "b", "c"], []),
        ([], ["c"]),
        ([], ["a", "b"]),
    ]


def test_it_stops_before_the_time_it_is_given():
    engine = CountedEngine(ROOMY, ONE_MS)
    engine.submit(ask("a", output=50), 0)
    engine.advance(0)
    engine.advance(1, 1)

    assert not engine.advance(2, 10.0)
    assert (engine.ended_ms, engine.due_ms, engine.told()) == (9, 10, [("a", 9)])


def test_who_leaves_says_how_much_it_was_told_and_a_crash_loses_all():
    engine = CountedEngine(replace(ROOMY, max_num_seqs=2), ONE_MS)
    for name in "abc":
        engine.submit(ask(name, output=50), 0)
    engine.advance(0)
    engine.advance(1, 1)
    engine.advance(2, 10.0)

    assert engine.abort("a") == 9
    assert engine.crash() == [("b", 9), ("c", 0)]
    assert (engine.running, engine.waiting, engine.used_blocks, engine.due_ms) == (0, 0, 0, None)


def test_what_it_cannot_count_is_refused():
    with pytest.raises(ValueError, match="fcfs"):
        CountedEngine(replace(ROOMY, scheduling_policy=SchedulingPolicy.PRIORITY), ONE_MS)
    with pytest.raises(ValueError, match="max_num_batched_tokens"):
        CountedEngine(replace(ROOMY, max_num_seqs=101), ONE_MS)
    engine = CountedEngine(ROOMY, ONE_MS)
    engine.submit(ask("taken"), 0)
    for wrong in (ask("taken"), ask("empty", output=0), ask("long", prompt=999)):
        with pytest.raises(ValueError):
            engine.submit(wrong, 0)
    assert engine.waiting == 1
