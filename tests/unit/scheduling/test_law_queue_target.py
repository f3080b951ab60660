"""Law queue_target: the article's literal rule, what it lets through, and when it must not stay shut."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.backend_state import OwnCounts
from scheduling.core.limits import EngineLoad
from tests.unit.scheduling.controlled import GPU, HELD_BACK, POOL, Controller

LITERAL = replace(POOL, admission="queue_target")
COUNTED = replace(LITERAL, counts_sent=True)
QUIET = OwnCounts()


@pytest.mark.parametrize(("waiting", "cap"), [(0, 64), (2, 64), (3, 0), (4, 0), (900, 0)])
def test_the_gate_is_wide_open_below_the_target_and_shut_from_it_on(waiting, cap):
    limit = Controller(LITERAL).reads(waiting=waiting).limit()

    assert (limit.cap, limit.window, limit.grant) == (cap, cap, None)


def test_the_reason_says_what_waits_and_what_that_means():
    controller = Controller(LITERAL)

    assert controller.reads(waiting=1).reason == "1 wait in the engine, target 3: open until the next reading"
    assert controller.reads(waiting=3).reason == "3 wait in the engine, target 3: shut until the next reading"


def test_the_target_is_the_pools():
    controller = Controller(replace(LITERAL, engine_queue_target_requests=8))

    assert controller.reads(waiting=7).limit().cap == 64
    assert controller.reads(waiting=8).limit().cap == 0


@pytest.mark.parametrize(("waiting", "cap", "grant"), [(0, 64, 3), (2, 64, 1), (3, 0, 0), (9, 0, 0)])
def test_counting_what_was_sent_grants_only_what_is_missing_to_the_target(waiting, cap, grant):
    state = Controller(COUNTED).reads(waiting=waiting)

    assert (state.limit().cap, state.limit().grant) == (cap, grant)
    if grant:
        assert state.reason.endswith(f"target 3: {grant} may go until the next reading")


def test_each_reading_is_a_new_grant_and_a_failed_one_is_none():
    controller = Controller(COUNTED)
    granted = [controller.reads().limit() for _ in range(2)]
    failed = controller.fails().limit()

    assert [limit.grant for limit in granted] == [3, 3]
    assert granted[1].read_at_s > granted[0].read_at_s, "gates must hear of it"
    assert (failed.grant, failed.read_at_s) == (0, granted[1].read_at_s)


def test_news_that_come_with_a_failed_reading_grant_nothing():
    controller = Controller(COUNTED)
    granted = controller.reads().limit()
    load = EngineLoad("gpu-0", controller.now_s, error="connection refused", down=True)

    limit = controller.step(load, QUIET).limit()

    assert limit.read_at_s > granted.read_at_s
    assert (limit.down, limit.grant) == (True, 0)


@pytest.mark.parametrize(
    ("stale", "cap", "reason"),
    [
        ("keep", 64, "kept, no reading for 12 s: timeout"),
        ("open", 64, "open to the cap, no reading for 12 s: timeout"),
        ("closed", 0, "closed, no reading for 12 s: timeout"),
    ],
)
def test_an_open_gate_without_readings_follows_the_stale_rule(stale, cap, reason):
    controller = Controller(replace(LITERAL, stale=stale))
    controller.reads()

    states = [controller.fails() for _ in range(12)]

    assert [state.limit().cap for state in states[:10]] == [64] * 10
    assert states[-1].limit().cap == cap
    assert states[-1].reason == reason


@pytest.mark.parametrize(("stale", "cap"), [("keep", 3), ("open", 64), ("closed", 0)])
def test_a_shut_gate_without_readings_stays_shut_only_where_the_stale_rule_is_closed(stale, cap):
    controller = Controller(replace(LITERAL, stale=stale))
    controller.reads(waiting=50)

    caps = [controller.fails().limit().cap for _ in range(14)]

    assert caps == [0] * 10 + [cap] * 4


def test_without_readings_counting_what_was_sent_leaves_as_many_in_flight_as_may_wait():
    controller = Controller(COUNTED)
    controller.reads()

    limits = [controller.fails().limit() for _ in range(12)]

    assert [(limit.cap, limit.grant) for limit in limits[9:]] == [(64, 0), (3, None), (3, None)]


@pytest.mark.parametrize(("target", "most", "cap"), [(3, 64, 3), (0, 64, 1), (9, 4, 4)])
def test_an_engine_that_was_never_read_gets_what_cannot_make_a_longer_queue(target, most, cap):
    pool = replace(LITERAL, engine_queue_target_requests=target)

    limit = Controller(pool, replace(GPU, max_in_flight=most)).fails().limit()

    assert limit.cap == cap


def test_an_engine_without_metrics_has_its_cap_alone():
    state = Controller(LITERAL, replace(GPU, engine="openai")).hears_nothing()

    assert (state.limit().cap, state.limit().window) == (64, 64)
    assert state.reason == "no metrics: the full cap alone"


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"waiting": None}, "blind: the reading does not say how many wait"),
        ({"running": 0}, "wrong: the engine says idle while our requests stream"),
    ],
)
def test_a_page_that_does_not_tell_the_queue_opens_nothing_and_goes_stale(said, error):
    controller = Controller(LITERAL)
    controller.reads(waiting=50)

    states = [controller.reads(HELD_BACK, **said) for _ in range(12)]

    assert [state.limit().cap for state in states] == [0] * 10 + [3] * 2
    assert {state.error for state in states} == {error}
    assert states[0].reason == f"limits kept: {error}"
    assert states[-1].reason == f"kept, {error}"


def test_an_idle_page_is_believed_when_nothing_of_ours_streams():
    controller = Controller(LITERAL)

    assert controller.reads(QUIET, running=0).error == ""
    assert controller.reads(None, running=0).error == ""


def test_one_stream_is_enough_to_call_an_idle_page_wrong():
    assert Controller(LITERAL).reads(OwnCounts(streaming=1), running=0).error.startswith("wrong")


def test_a_page_that_tells_again_is_obeyed_at_once():
    controller = Controller(LITERAL)
    for _ in range(20):
        controller.reads(waiting=None)

    state = controller.reads(waiting=7)

    assert (state.limit().cap, state.error) == (0, "")


def test_a_restart_is_obeyed_and_said():
    controller = Controller(LITERAL)
    controller.reads(waiting=9, started_at_s=5.0)

    state = controller.reads(started_at_s=90.0)

    assert (state.epoch, state.limit().cap) == (1, 64)
    assert state.reason == "engine restarted; 0 wait in the engine, target 3: open until the next reading"
