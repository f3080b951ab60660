"""First come, first served: order of arrival over lanes, tenants that are shut out, places, memory."""

from __future__ import annotations

from scheduling.core.entry import Entry, Lane
from scheduling.core.fairness import Fifo
from tests.unit.scheduling.accounts import LANE, OTHER, entered
from tests.unit.scheduling.machines import ticket


def entry(place: int, tenant: str = "acme", lane: Lane = LANE) -> Entry:
    """A ticket of this arrival; a negative one is a retry's."""
    return entered(ticket(f"{tenant}-{place}", model=lane.model), 100, place, lane)


def line(*entries: Entry) -> Fifo:
    fifo = Fifo()
    for each in entries:
        fifo.push(each)
    return fifo


def served(fifo: Fifo, *lanes: Lane) -> list[int]:
    """The places of all who can go, in order."""
    order = []
    while (each := fifo.pick(lanes or (LANE,))) is not None:
        fifo.serve(each)
        order.append(each.place)
    return order


def test_the_oldest_of_all_open_lanes_goes_first_and_retries_before_everybody():
    fifo = line(entry(1), entry(2, lane=OTHER), entry(3), entry(-5, lane=OTHER), entry(-4))

    assert served(fifo, LANE, OTHER) == [-5, -4, 1, 2, 3]


def test_a_lane_that_is_not_open_is_not_looked_at():
    fifo = line(entry(1, lane=OTHER), entry(2))

    assert served(fifo, LANE) == [2]
    assert served(fifo, OTHER) == [1]
    assert fifo.pick([LANE, OTHER]) is None


def test_who_comes_back_into_line_stands_where_it_stood():
    first, second, third = entry(1), entry(2), entry(3)
    fifo = line(first, second, third)
    fifo.step_out(first)
    fifo.step_out(second)
    fifo.push(first)

    assert served(fifo) == [1, 3]


def test_a_shut_tenant_is_passed_over_for_those_models_only_and_keeps_its_place():
    fifo = line(entry(1), entry(2, "beta"), entry(3), entry(4, lane=OTHER))

    fifo.close("acme", {"llama"})
    assert fifo.pick([LANE]).place == 2
    assert fifo.pick([OTHER]).place == 4
    fifo.push(entry(5))
    fifo.push(entry(6, lane=OTHER))
    fifo.push(entry(7, "beta"))
    fifo.close("acme", None)

    assert served(fifo, LANE, OTHER) == [1, 2, 3, 4, 5, 6, 7]


def test_a_shut_tenant_can_be_shut_for_other_models_at_once():
    fifo = line(entry(1), entry(2, lane=OTHER))
    fifo.close("acme", {"llama"})

    fifo.close("acme", {"qwen"})

    assert served(fifo, LANE, OTHER) == [1]
    fifo.push(entry(3, lane=OTHER))
    assert fifo.pick([OTHER]) is None
    fifo.push(entry(4))
    assert fifo.pick([LANE]).place == 4


def test_who_stands_aside_can_leave_and_nothing_stays_behind():
    first, second, other = entry(1), entry(2), entry(3, "beta")
    fifo = line(first, second, other)
    fifo.close("acme", {"llama"})

    fifo.step_out(first)
    assert set(fifo._aside) == {"acme"}
    fifo.step_out(second)
    assert not fifo._aside
    fifo.close("acme", None)

    assert served(fifo) == [3]
    assert not fifo.lanes
    assert not fifo._waiting
    assert not fifo._shut


def test_closing_a_tenant_that_has_nothing_in_line_keeps_nothing_of_it_but_the_rule():
    fifo = line(entry(1, "beta"))

    fifo.close("acme", {"llama"})

    assert not fifo._aside
    assert served(fifo) == [1]


def test_a_place_is_how_many_came_before_and_still_wait():
    entries = [entry(n, "acme" if n % 2 else "beta") for n in range(1, 7)]
    fifo = line(*entries)

    assert [fifo.ahead(each, 0) for each in entries] == [0, 1, 2, 3, 4, 5]
    fifo.serve(entries[0])
    fifo.serve(entries[1])
    assert [fifo.ahead(each, 0) for each in entries[2:]] == [0, 1, 2, 3]


def test_a_place_is_never_behind_the_last_nor_before_the_first():
    entries = [entry(n) for n in range(1, 5)]
    fifo = line(*entries)
    fifo.step_out(entries[1])
    fifo.step_out(entries[2])
    assert fifo.ahead(entries[3], 0) == 1

    again = entry(-9)
    fifo.push(again)
    assert fifo.ahead(again, 0) == 0
    fifo.serve(again)
    fifo.serve(entries[3])
    assert fifo.ahead(entries[0], 0) == 0


def test_places_begin_anew_when_the_line_was_empty():
    first = entry(1)
    fifo = line(first)
    fifo.serve(first)
    second, third = entry(2), entry(3)
    fifo.push(second)
    fifo.push(third)

    assert (second.ordinal, third.ordinal) == (0, 1)
    assert fifo.ahead(third, 0) == 1


def test_rivals_are_the_other_tenants_in_line():
    mine = entry(1)
    fifo = line(mine, entry(2), entry(3, "beta"), entry(4, "beta"), entry(5, "gamma"))

    assert fifo.rivals(mine) == 2
