"""Inputs that come too early, too late or twice change nothing; what each input answers when it counts."""

from __future__ import annotations

import pytest

from scheduling.core.events import BoostEnded, Cancelled, Expired, Held, Stranded
from scheduling.core.policy import FAIRNESS
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import POOL, backend, dispatched, policy, serve_all, ticket


def full(fairness: str = "token_fair", **fields) -> Scheduler:
    """One seat, taken; acme-0 waits."""
    machine = Scheduler(POOL, policy(fairness, **fields))
    machine.submit(ticket("plug-0"), 0)
    machine.submit(ticket("acme-0"), 0)
    return machine


@pytest.mark.parametrize("fairness", FAIRNESS)
def test_what_is_said_of_a_request_that_waits_as_if_it_ran_changes_nothing(fairness):
    machine = full(fairness)

    assert machine.start("acme-0", 1) == []
    assert machine.progress("acme-0", 50, 1) == []
    assert machine.finish("acme-0", 50, 1) == []

    assert machine.is_waiting("acme-0")
    assert machine.view(1).in_flight == 1
    assert dispatched(machine.finish("plug-0", 100, 1)) == ["acme-0"]


@pytest.mark.parametrize("fairness", FAIRNESS)
def test_what_is_said_of_a_request_that_runs_as_if_it_waited_changes_nothing(fairness):
    machine = full(fairness)

    for said in (machine.cancel, machine.hold, machine.release, machine.move_to_front):
        assert said("plug-0", 1) == []

    assert machine.position("plug-0", 1) is None
    assert not machine.is_waiting("plug-0")
    assert dispatched(machine.finish("plug-0", 100, 1)) == ["acme-0"]


def test_of_a_request_that_nobody_knows_nothing_is_said():
    machine = full()

    for said in (machine.start, machine.cancel, machine.hold, machine.release, machine.move_to_front):
        assert said("ghost", 1) == []
    assert machine.progress("ghost", 5, 1) == machine.finish("ghost", 5, 1) == []
    assert machine.position("ghost", 1) is machine.explain("ghost", 1) is None


def test_a_held_request_is_held_once_and_only_a_held_one_is_released():
    machine = full()

    assert machine.release("acme-0", 1) == []
    assert [type(event) for event in machine.hold("acme-0", 1)] == [Held]
    assert machine.hold("acme-0", 1) == []
    assert [type(event) for event in machine.cancel("acme-0", 1)] == [Cancelled]
    assert machine.release("acme-0", 1) == []


def test_a_request_is_moved_to_the_front_once():
    machine = full()

    assert len(machine.move_to_front("acme-0", 1)) == 1
    assert machine.move_to_front("acme-0", 1) == []


def test_a_pause_of_nobody_known_is_remembered_until_it_comes():
    machine = Scheduler(POOL, policy())
    machine.pause("acme", 0)

    assert dispatched(machine.submit(ticket("acme-0"), 0)) == []
    assert dispatched(machine.resume("acme", 0)) == ["acme-0"]
    assert machine.resume("acme", 0) == []
    assert machine.resume(None, 0) == []


def test_a_repeated_pause_lets_time_do_its_part():
    machine = full()
    late = ticket("late-0", deadline_ms=500)
    machine.submit(late, 0)
    machine.pause("beta", 0)
    machine.pause(None, 0)

    assert machine.pause("beta", 500) == [Expired(late, 500)]
    later = ticket("later-0", deadline_ms=700)
    machine.submit(later, 600)
    assert machine.pause(None, 700) == [Expired(later, 700)]
    machine.resume(None, 800)
    latest = ticket("latest-0", deadline_ms=900)
    machine.submit(latest, 800)
    assert machine.resume(None, 900) == [Expired(latest, 900)]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        pytest.param(lambda machine: machine.start("plug-0", 500), 1, id="start"),
        pytest.param(lambda machine: machine.progress("plug-0", 5, 500), 1, id="progress"),
        pytest.param(lambda machine: machine.expire(500), 1, id="expire"),
        pytest.param(lambda machine: machine.boost("beta", 2, 900, 500), 2, id="boost"),
        pytest.param(lambda machine: machine.throttle("gpu-0", 500), 1, id="throttle"),
        pytest.param(
            lambda machine: machine.submit(ticket("beta-0", not_before_ms=900), 500), 2, id="submit"
        ),
        pytest.param(lambda machine: machine.submit(ticket("beta-0"), 500), 1, id="submit in line"),
        pytest.param(lambda machine: machine.hold("acme-0", 500), 2, id="hold"),
        pytest.param(lambda machine: machine.cancel("acme-0", 500), 2, id="cancel"),
        pytest.param(lambda machine: machine.set_policy(policy(revision=2), 500), 1, id="policy"),
    ],
)
def test_every_input_lets_time_do_its_part(said, answer):
    machine = full("vtc")
    late = ticket("late-0", deadline_ms=500)
    machine.submit(late, 0)

    events = said(machine)

    assert events[-1] == Expired(late, 500)
    assert len(events) == answer


def test_a_progress_before_anything_is_due_answers_nothing():
    machine = full("vtc")
    machine.submit(ticket("late-0", deadline_ms=500), 0)

    assert machine.progress("plug-0", 5, 499) == []


@pytest.mark.parametrize("factor", [1, 2, 100])
def test_a_boost_counts_from_one_to_a_hundred_times(factor):
    machine = full()

    machine.boost("acme", factor, 900, 0)

    assert machine.view(0).tenants[0].boost == factor


def test_a_boost_that_would_end_now_ends_the_one_in_force():
    machine = full()
    machine.boost("acme", 5, 900, 0)

    assert machine.boost("acme", 5, 100, 100) == [BoostEnded("acme", 100)]
    assert machine.boost("acme", 5, 100, 100) == []


def test_a_boost_that_is_prolonged_ends_at_its_new_end():
    machine = full()
    machine.boost("acme", 5, 300, 0)
    machine.boost("acme", 5, 900, 100)

    assert machine.expire(300) == []
    assert machine.expire(900) == [BoostEnded("acme", 900)]


def test_what_cannot_be_served_at_all_leaves_at_once_and_without_a_trace():
    machine = Scheduler(POOL, policy())
    stranger = ticket("acme-0", model="ghost")

    assert machine.submit(stranger, 7) == [Stranded(stranger, 7)]
    assert machine.is_idle
    assert machine.view(7).queued == 0
    assert dispatched(machine.submit(ticket("acme-0"), 7)) == ["acme-0"]


def test_a_request_may_come_again_when_it_has_ended():
    machine = full()
    machine.finish("plug-0", 100, 1)

    machine.submit(ticket("plug-0"), 2)

    assert machine.is_waiting("plug-0")


def test_an_answer_that_cost_nothing_had_its_turn_all_the_same():
    machine = Scheduler(POOL, policy("round_robin"))
    machine.submit(ticket("plug-0"), 0)
    for n in range(2):
        machine.submit(ticket(f"acme-{n}"), 0)
        machine.submit(ticket(f"beta-{n}"), 0)
    machine.finish("plug-0", 100, 0)

    assert dispatched(machine.finish("acme-0", 0, 0)) == ["beta-0"]


def test_an_answer_that_cost_nothing_is_charged_one_cost_token():
    machine = Scheduler(POOL, policy())
    machine.submit(ticket("acme-0", cost=700), 0)
    machine.submit(ticket("acme-1"), 0)
    acme = machine._entries["acme-1"].shares[0]

    machine.finish("acme-0", 0, 0)

    assert acme.key == (1 + 100) * 1000


def test_requests_estimated_at_nothing_share_as_others_do():
    machine = Scheduler(POOL, policy())
    machine.submit(ticket("plug-0"), 0)
    for n in range(3):
        machine.submit(ticket(f"free-{n}", cost=0), 0)
        machine.submit(ticket(f"paid-{n}", cost=1), 0)
    assert [line.queued_tokens for line in machine.view(0).tenants] == [3, 3, 0]

    order = [name[:4] for name in serve_all(machine, ["plug-0"])][1:]

    assert order == ["free", "paid"] * 3


def test_backends_are_shown_by_name_whatever_their_order_in_the_rules():
    machine = Scheduler(POOL, policy(backends=[backend(name) for name in ("c", "a", "b")]))
    machine.set_policy(policy(backends=[backend(name) for name in ("0", "c", "b")], revision=2), 0)

    assert [gate.backend for gate in machine.view(0).backends] == ["0", "b", "c"]
    assert [gate.backend for gate in machine.begin_period(0)] == ["0", "b", "c"]


def test_the_view_says_how_many_wait_and_run_and_whether_the_pool_is_paused():
    machine = full()

    assert (machine.view(0).queued, machine.view(0).in_flight, machine.view(0).paused) == (1, 1, False)
    machine.pause(None, 0)
    assert machine.view(0).paused
    assert not machine.is_idle


@pytest.mark.parametrize("fairness", FAIRNESS)
def test_only_vtc_charges_before_the_end(fairness):
    assert full(fairness).charges_as_it_streams == (fairness == "vtc")


def test_a_backend_that_nobody_knows_is_left_alone():
    machine = full()

    assert machine.throttle("ghost", 0) == []
    assert machine.next_due_ms() is None
