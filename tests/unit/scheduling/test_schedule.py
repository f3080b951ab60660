"""When engines are read."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduling.engines.endpoint import Endpoint
from scheduling.engines.schedule import GRID, JITTER, latest, period_s, plan

NOW_S = 1_795_000_000.0


def endpoint(name: str = "gpu-0", every_ms: int | None = None) -> Endpoint:
    return Endpoint(name, "http://127.0.0.1:1", "vllm", poll_every_ms=every_ms)


def slots_of(endpoints: list[Endpoint], beats: int, beat_s: float = 1.0) -> list:
    """What is read over some beats, each slot once, whoever's beat has it."""
    found = [slot for n in range(beats) for slot in plan(endpoints, NOW_S + n * beat_s, beat_s)]
    return list({slot.name: slot for slot in found}.values())


@pytest.mark.parametrize("every_ms", [None, 250, 1000, 5000, 7300])
@pytest.mark.parametrize("beat_s", [0.2, 1.0])
def test_every_backend_is_read_at_its_own_period(every_ms: int | None, beat_s: float) -> None:
    one = endpoint(every_ms=every_ms)
    period = period_s(one, beat_s)

    numbers = [slot.n for slot in slots_of([one], round(40 * period / beat_s), beat_s)]

    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "none is left out"
    assert len(numbers) == pytest.approx(40, abs=1.5)


def test_readings_come_up_to_a_tenth_of_their_period_early_or_late() -> None:
    slots = [latest(endpoint(), NOW_S + n, 1.0) for n in range(400)]

    gaps = [after.at_s - before.at_s for before, after in pairwise(slots) if after.n == before.n + 1]

    assert min(gaps) >= 1 - 2 * JITTER - 1e-6
    assert max(gaps) <= 1 + 2 * JITTER + 1e-6
    assert max(gaps) - min(gaps) > 0.2, "they are not all alike"


def test_backends_are_not_all_read_at_the_same_instant() -> None:
    slots = plan([endpoint(f"gpu-{n}") for n in range(100)], NOW_S, 1.0)
    coming = [slot.at_s for slot in slots if slot.at_s >= NOW_S]

    assert len(set(coming)) >= GRID - 1
    assert max(coming.count(at_s) for at_s in set(coming)) < 30


def test_a_slot_that_an_earlier_beat_missed_is_due_at_once() -> None:
    first = plan([endpoint()], NOW_S, 1.0)[0]

    assert NOW_S - 1 - 2 * JITTER <= first.at_s <= NOW_S
    assert first.name == latest(endpoint(), NOW_S, 1.0).name


def test_all_processes_name_a_slot_alike_whenever_their_beat_comes() -> None:
    early = {slot.name: slot.at_s for slot in plan([endpoint()], NOW_S, 1.0)}
    late = {slot.name: slot.at_s for slot in plan([endpoint()], NOW_S + 0.4, 1.0)}

    shared = early.keys() & late.keys()
    assert shared
    assert all(early[name] == pytest.approx(late[name], abs=0.11) for name in shared)


def test_another_reader_has_other_moments() -> None:
    assert latest(endpoint(), NOW_S, 1.0, "a").at_s != latest(endpoint(), NOW_S, 1.0, "b").at_s


@given(
    now_s=st.floats(0, 4e9),
    every_ms=st.integers(1, 3_600_000),
    salt=st.text(max_size=5),
)
def test_the_latest_slot_is_due_and_the_one_after_it_is_not(now_s: float, every_ms: int, salt: str) -> None:
    slot = latest(endpoint(every_ms=every_ms), now_s, 1.0, salt)

    assert slot.at_s <= now_s
    assert now_s - slot.at_s <= slot.period_s * (1 + 2 * JITTER) + 1e-6
