"""Which open backend takes the next request, and which backends a lane has at all."""

from __future__ import annotations

import pytest

from scheduling.core.admission import PROMOTED_ONE_IN, Gate
from scheduling.core.entry import Lane
from scheduling.core.gates import Gates
from scheduling.core.limits import Limit
from scheduling.core.policy import PoolRule
from scheduling.core.routing import choose, choose_for, route
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.accounts import entered
from tests.unit.scheduling.machines import POOL, backend, policy, ticket


def gate(name: str, in_flight: int = 0, cap: int = 10, pending: int = 0, **fields) -> Gate:
    made = Gate(name)
    made.obey(backend(name, cap), PoolRule(POOL, window_requests=99), frozenset({"llama"}))
    made.in_flight, made.pending = in_flight, pending
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def lane(*gates: Gate, avoid: tuple[str, ...] = ()) -> Lane:
    made = Lane(("llama", frozenset(avoid)))
    made.gates = gates
    return made


def chosen_of(where: Lane, hold: int = 0, since: int = 0, kept: tuple[Gate, ...] = ()) -> Gate | None:
    """The lane's backend for whoever is next, which is that for one ticket without needs of its own."""
    one = entered(ticket("acme-0"), 100, 1, where)
    found = choose(where, hold, 0, since, kept)
    assert choose_for(one, hold, 0, since, kept) is found
    return found


@pytest.mark.parametrize(
    ("gates", "chosen"),
    [
        pytest.param([gate("a", pending=2), gate("b", in_flight=9, pending=1)], "b", id="pending"),
        pytest.param([gate("a", 4, 10), gate("b", 5, 20)], "b", id="load"),
        pytest.param([gate("a", 5, 20), gate("b", 4, 10)], "a", id="load of the first"),
        pytest.param([gate("a", 4, learnt=10), gate("b", 5, learnt=20)], "b", id="load of what was learnt"),
        pytest.param(
            [gate("a", 3, 0, _alone=True), gate("b", 4, 2, _alone=True)], "b", id="load of one seat"
        ),
        pytest.param([gate("b", 1), gate("a", 1)], "a", id="name"),
        pytest.param([gate("a", 1_000, 2_000_000), gate("b", 999, 2_000_000)], "b", id="fine load"),
        pytest.param([gate("a", 10, 10), gate("b", 9, 10, pending=5)], "b", id="open"),
        pytest.param([gate("a", 10, 10), gate("b", 10, 10)], None, id="none"),
        pytest.param([], None, id="nobody"),
    ],
)
def test_the_open_backend_with_the_shortest_queue_is_chosen_then_the_least_loaded(gates, chosen):
    found = chosen_of(lane(*gates))

    assert (found and found.name) == chosen


def test_seats_that_are_held_back_are_not_given():
    one = gate("a", 8, 10)

    assert chosen_of(lane(one), hold=1) is one
    assert chosen_of(lane(one), hold=2) is None


def test_a_promotion_goes_only_where_enough_seats_were_given_since_the_last():
    recent, ripe = gate("a", since_promoted=0), gate("b", 5, since_promoted=3)

    assert chosen_of(lane(recent, ripe), since=3) is ripe
    assert chosen_of(lane(recent, ripe), since=4) is None
    assert chosen_of(lane(recent, ripe)) is recent


def test_a_backend_that_has_given_no_seat_yet_owes_its_first_to_an_aged_class():
    fresh = gate("a")

    assert chosen_of(lane(fresh), since=PROMOTED_ONE_IN - 1) is fresh


def test_who_waits_for_memory_keeps_its_backends_from_others():
    kept, other = gate("a"), gate("b", 9)

    assert chosen_of(lane(kept, other), kept=(kept,)) is other
    assert chosen_of(lane(kept), kept=(kept,)) is None


def routed(*avoid: str, **changes) -> list[str]:
    rules = [backend(name, draining=name in changes.get("draining", ())) for name in ("a", "b", "c")]
    gates = Gates(POOL)
    gates.obey(policy(backends=[*rules, backend("d", models=("qwen",))]))
    for name in changes.get("shut", ()):
        gates.get(name).cap = 0
    made = lane(avoid=avoid)
    route(made, gates)
    return [each.name for each in made.gates]


def test_a_lane_has_the_backends_that_serve_its_model_also_while_they_drain():
    assert routed() == ["a", "b", "c"]
    assert routed(draining=("b",), shut=("c",)) == ["a", "b", "c"]


def test_what_failed_a_request_is_avoided_unless_no_other_remains():
    assert routed("a") == ["b", "c"]
    assert routed("a", "b", "c") == ["a", "b", "c"]


def test_a_backend_that_drains_or_is_shut_does_not_count_as_remaining():
    assert routed("a", draining=("b",)) == ["c"]
    assert routed("a", draining=("b",), shut=("c",)) == ["a", "b", "c"]


def test_the_only_backend_of_a_model_is_not_passed_over_because_another_is_kept():
    mine, other = gate("gpu-0"), gate("gpu-1")

    assert choose(lane(mine), 0, 0, 0, (other,)) is mine
    assert choose(lane(mine), 0, 0, 0, (mine,)) is None


def test_while_nobody_knows_what_an_engine_can_do_its_load_is_measured_by_its_cap():
    machine = Scheduler(POOL, policy(backends=[backend("gpu-0", 10), backend("gpu-1", 20)]))
    for name, cap in (("gpu-0", 10), ("gpu-1", 20)):
        machine.set_limit(Limit(name, 3, cap, "read", 0, 1.0), 0)

    chosen = [machine.submit(ticket(f"acme-{n}"), 0)[0].backend for n in range(3)]

    assert chosen == ["gpu-0", "gpu-1", "gpu-1"]
