"""API tokens with a cap of their own: who goes on, who waits outside, in which order they are let in."""

from __future__ import annotations

from scheduling.core.entry import Entry
from scheduling.core.own_caps import OwnCaps
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.accounts import LANE, entered
from tests.unit.scheduling.machines import POOL, dispatched, policy, ticket


def entry(place: int, most: int | None = 1, token: str = "ci") -> Entry:
    """A ticket of an API token that may have ``most`` going; a negative place is a retry's."""
    one = ticket(f"acme-{place}", api_token=token, api_token_in_flight=most)
    return entered(one, 100, place, LANE)


def test_a_token_without_a_cap_is_never_kept_waiting_and_leaves_nothing_behind():
    caps = OwnCaps()
    free = entry(1, most=None)

    assert caps.admit(free)
    assert caps.leave(free) == []
    assert not caps._tokens


def test_those_beyond_the_cap_are_let_in_one_by_one_in_order_of_arrival():
    caps = OwnCaps()
    one, two, three, four = (entry(n, 2) for n in range(1, 5))

    assert [caps.admit(each) for each in (one, two, three, four)] == [True, True, False, False]
    assert caps.leave(one) == [three]
    assert caps.leave(three) == [four]
    assert caps.leave(two) == []
    assert caps.leave(four) == []
    assert not caps._tokens


def test_a_retry_is_let_in_before_first_attempts():
    caps = OwnCaps()
    one, two, again, once_more = entry(1), entry(2), entry(-3), entry(-4)
    for each in (one, two, again, once_more):
        caps.admit(each)

    assert caps.leave(one) == [once_more]
    assert caps.leave(once_more) == [again]
    assert caps.leave(again) == [two]


def test_a_cap_that_was_raised_counts_at_once_and_for_those_outside_with_the_next_that_leaves():
    caps = OwnCaps()
    for n in range(1, 5):
        caps.admit(entry(n))

    assert caps.admit(entry(5, 3))
    assert [each.place for each in caps.leave(entry(1))] == [2, 3]
    assert [each.place for each in caps.leave(entry(2))] == [4]


def test_a_cap_that_was_lowered_lets_in_nobody_until_enough_have_left():
    caps = OwnCaps()
    for n in range(1, 4):
        caps.admit(entry(n, 3))
    narrow = entry(4, 1)
    caps.admit(narrow)

    assert [caps.leave(entry(n, 3)) for n in range(1, 4)] == [[], [], [narrow]]


def test_who_gives_up_outside_is_let_in_no_more():
    caps = OwnCaps()
    one, two, three = entry(1), entry(2), entry(3)
    for each in (one, two, three):
        caps.admit(each)

    caps.give_up(two)

    assert caps.leave(one) == [three]


def test_a_token_is_known_until_its_last_ticket_is_gone():
    caps = OwnCaps()
    one, two, other = entry(1), entry(2), entry(3, token="cd")
    for each in (one, two, other):
        caps.admit(each)
    caps.give_up(two)
    assert set(caps._tokens) == {"ci", "cd"}

    caps.leave(one)
    assert set(caps._tokens) == {"cd"}
    caps.leave(other)
    assert not caps._tokens


def test_when_the_last_inside_left_those_outside_are_still_known():
    caps = OwnCaps()
    none_may, at_all = entry(1, 0), entry(2, 0)
    assert not caps.admit(none_may)
    assert not caps.admit(at_all)

    caps.give_up(none_may)
    assert "ci" in caps._tokens
    caps.give_up(at_all)
    assert not caps._tokens


def test_a_cap_that_was_lowered_to_nothing_keeps_those_outside_known():
    caps = OwnCaps()
    one, two = entry(1, 1), entry(2, 0)
    caps.admit(one)
    caps.admit(two)

    assert caps.leave(one) == []
    assert "ci" in caps._tokens
    caps.give_up(two)
    assert not caps._tokens


def capped(machine: Scheduler, *names: str, **fields) -> list[str]:
    """Who of these, which share an API token that may have one going, is seated at once."""
    fields = {"api_token": "ci", "api_token_in_flight": 1, **fields}
    return [seated for name in names for seated in dispatched(machine.submit(ticket(name, **fields), 0))]


def test_a_ticket_that_is_held_gives_its_place_under_the_cap_to_the_next():
    machine = Scheduler(POOL, policy())
    machine.submit(ticket("plug-0"), 0)
    capped(machine, "acme-0", "acme-1")

    machine.hold("acme-0", 0)
    assert dispatched(machine.finish("plug-0", 100, 0)) == ["acme-1"]
    machine.release("acme-0", 0)

    assert machine.explain("acme-0", 0).reasons[0].code == "api_token_in_flight"
    assert dispatched(machine.finish("acme-1", 100, 0)) == ["acme-0"]


def test_a_ticket_cancelled_in_line_gives_its_place_under_the_cap_to_the_next():
    machine = Scheduler(POOL, policy())
    machine.submit(ticket("plug-0"), 0)
    capped(machine, "acme-0", "acme-1")

    machine.cancel("acme-0", 0)

    assert dispatched(machine.finish("plug-0", 100, 0)) == ["acme-1"]


def test_the_front_of_the_queue_does_not_lift_a_cap():
    machine = Scheduler(POOL, policy(seats=3))
    assert capped(machine, "acme-0", "acme-1", "acme-2") == ["acme-0"]

    machine.move_to_front("acme-2", 0)

    assert not machine.bands._front
    assert dispatched(machine.finish("acme-0", 100, 0)) == ["acme-1"]
    assert dispatched(machine.finish("acme-1", 100, 0)) == ["acme-2"]


def test_a_ticket_moved_to_the_front_that_is_cancelled_leaves_no_place_taken():
    machine = Scheduler(POOL, policy())
    machine.submit(ticket("plug-0"), 0)
    capped(machine, "acme-0", "acme-1")
    machine.move_to_front("acme-0", 0)

    machine.cancel("acme-0", 0)

    assert dispatched(machine.finish("plug-0", 100, 0)) == ["acme-1"]


def test_who_is_let_in_after_it_was_moved_goes_before_all_others():
    machine = Scheduler(POOL, policy(seats=2))
    machine.submit(ticket("plug-0"), 0)
    capped(machine, "acme-0", "acme-1")
    for n in range(3):
        machine.submit(ticket(f"beta-{n}"), 0)
    machine.move_to_front("acme-1", 0)

    assert dispatched(machine.finish("acme-0", 100, 0)) == ["acme-1"]


def test_a_parked_ticket_takes_no_place_under_the_cap():
    machine = Scheduler(POOL, policy(seats=3))
    capped(machine, "acme-0", not_before_ms=500)

    assert capped(machine, "acme-1") == ["acme-1"]
    assert dispatched(machine.expire(500)) == []
    assert dispatched(machine.finish("acme-1", 100, 600)) == ["acme-0"]
