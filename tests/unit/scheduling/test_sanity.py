"""Numbers that no engine can mean are taken as not said, and what is not said for now is remembered."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import pytest

from scheduling.core.backend_state import BackendState, OwnCounts
from scheduling.core.law import Law
from scheduling.core.laws import LAWS
from scheduling.core.limits import EngineLoad
from scheduling.core.policy import ADMISSION
from scheduling.core.sanity import sane
from tests.unit.scheduling.controlled import GPU, HELD_BACK, POOL, Controller, windows

NOW_S = 1_000_000.0


def heard(name: str, said: float | None) -> float | None:
    return getattr(sane(replace(EngineLoad("gpu-0", NOW_S), **{name: said}), NOW_S), name)


@pytest.mark.parametrize(
    ("name", "least", "most", "above"),
    [
        ("running", 0, 10**6, 10**6 + 1),
        ("waiting", 0, 10**6, 10**6 + 1),
        ("kv_usage", 0.0, 1.0, 1.01),
        ("preemptions_total", 0, 2**53, 2**53 + 1),
        ("work_total", 0, 2**53, 2**53 + 1),
        ("output_token_s", 0.0, 3600.0, 3600.5),
        ("started_at_s", 0.0, NOW_S + 86_400, NOW_S + 86_401),
        ("max_requests", 1, 10**6, 10**6 + 1),
        ("kv_tokens", 1, 10**9, 10**9 + 1),
    ],
)
def test_each_number_has_its_range_and_nothing_outside_is_heard(name, least, most, above):
    assert (heard(name, least), heard(name, most), heard(name, None)) == (least, most, None)
    assert {heard(name, wild) for wild in (above, -1, math.nan, math.inf, -math.inf)} == {None}


@pytest.mark.parametrize("name", ["max_requests", "kv_tokens"])
def test_an_engine_that_takes_nothing_has_not_said_what_it_takes(name):
    assert heard(name, 0) is None


def test_a_count_is_a_whole_number():
    assert isinstance(heard("running", 4.0), int)


def test_a_reading_from_the_future_was_made_now():
    assert heard("read_at_s", NOW_S + 5) == NOW_S
    assert heard("read_at_s", NOW_S - 5) == NOW_S - 5


def test_a_reading_without_a_time_is_no_reading():
    assert Controller().reads(read_at_s=math.nan).error == "old: the reading is nan s old"


def test_a_page_of_garbage_is_blind_and_not_idle():
    state = Controller().reads(running=math.nan, waiting=-3)

    assert state.error == "blind: the reading says neither running nor waiting"


def test_a_reading_that_leaves_out_the_counters_hides_no_restart():
    controller = Controller()
    controller.reads(started_at_s=5.0)
    controller.reads(started_at_s=None, work_total=None)

    assert controller.reads(started_at_s=90.0).epoch == 1


@pytest.mark.parametrize("counter", ["work_total", "preemptions_total"])
def test_a_counter_is_compared_with_the_last_one_that_was_told(counter):
    controller = Controller()
    controller.reads(**{counter: 50})
    controller.reads(**{counter: None})

    assert controller.reads(**{counter: 49}).epoch == 1


def test_a_header_of_a_response_is_a_reading_of_an_engine_without_a_page():
    controller = Controller(backend=replace(GPU, engine="openai"))
    windows(controller, 2)  # 5

    states = [controller.hears_nothing() for _ in range(12)]

    assert [state.limit().window for state in states] == [5] * 10 + [3] * 2
    assert states[0].reason == "limits kept: last heard in a response"
    assert states[0].limit().running == 17
    assert states[-1].limit().running is None
    assert states[-1].reason == "no metrics: at most 3 may wait for their first token"


@pytest.mark.parametrize("engine", ["openai", "ollama"])
@pytest.mark.parametrize("said", [{"running": 3}, {"waiting": 0}])
def test_half_a_header_is_a_reading_too(engine, said):
    controller = Controller(backend=replace(GPU, engine=engine))
    load = EngineLoad("gpu-0", controller.now_s, **said)

    assert controller.step(load, HELD_BACK).read_at_s == 1000.0


def test_an_engine_without_a_page_is_never_stale_whatever_comes_with_an_error():
    controller = Controller(replace(POOL, stale="closed"), replace(GPU, engine="openai"))

    state = controller.step(EngineLoad("gpu-0", controller.now_s, running=3, error="refused"), HELD_BACK)

    assert (state.limit().window, state.error) == (3, "refused")


def test_an_engine_with_a_page_that_says_nothing_is_blind():
    assert Controller().hears_nothing().error.startswith("blind")


def test_a_law_reads_the_engine_and_has_no_window_unless_it_says_so():
    law = Law(LAWS["static_cap"].decide)

    assert (law.reads, law.windowed) == (True, False)


def test_every_admission_that_a_rule_may_name_is_a_law():
    assert set(ADMISSION) <= set(LAWS)
    assert set(LAWS) == {"first_token_window", "queue_target", "tpot_target", "static_cap", "gradient"}


def test_a_state_comes_back_from_json_as_it_was():
    controller = Controller()
    controller.reads(max_requests=9, kv_tokens=100, kv_usage=math.nan)
    state = controller.reads(OwnCounts(answered=3, answer_ms=50))

    assert msgspec.json.decode(msgspec.json.encode(state), type=BackendState) == state


def test_a_state_stored_before_there_were_laws_is_read_and_begins_again():
    stored = b"""{"backend": "gpu-0", "window": 50.5, "cap": 40.0, "given_window": 40, "given_cap": 40,
        "reason": "window holds", "epoch": 7, "decided_at_s": 999.0, "read_at_s": 999.0,
        "rule_window": 3, "rule_cap": 64, "given_running": 4}"""
    controller = Controller()
    controller.state = msgspec.json.decode(stored, type=BackendState)

    state = controller.reads(OwnCounts())

    assert (state.epoch, state.limit().window, state.limit().cap) == (7, POOL.window_requests, 64)
