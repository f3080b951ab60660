"""All gates of a pool: which backends it has, in which order, and when one that left is dropped."""

from __future__ import annotations

from dataclasses import replace

from scheduling.core.entry import Entry
from scheduling.core.gates import Gates
from scheduling.core.limits import Limit
from scheduling.core.policy import BackendRule
from tests.unit.scheduling.accounts import LANE, entered
from tests.unit.scheduling.machines import POOL, backend, policy, ticket


def entry() -> Entry:
    return entered(ticket("acme-0"), 100, 1, LANE)


def gates(*rules, models: dict[str, str] | None = None) -> Gates:
    made = Gates(POOL)
    made.obey(replace(policy(backends=rules), models=models or {}))
    return made


def test_backends_stand_by_name_and_those_of_other_pools_are_not_ours():
    made = gates(backend("b"), backend("a"), BackendRule("0", "elsewhere", frozenset({"llama"})))

    assert [each.name for each in made] == ["a", "b"]
    assert made.get("0") is None


def test_a_backend_that_left_is_dropped_when_it_is_empty_and_not_before():
    made = gates(backend("a"), backend("b"))
    runs = entry()
    made.get("a").seat(runs, 0)

    made.obey(policy(backends=[backend("c")]))
    assert [(each.name, each.gone) for each in made] == [("a", True), ("c", False)]
    assert made.serving("llama") == [made.get("c")]
    assert not made.move(Limit("a", 1, 1, "late", 0, 9.0), 0, None)
    made.forget_if_gone(made.get("a"))
    assert made.get("a")
    made.get("a").leave(runs, 1)
    made.forget_if_gone(made.get("a"))

    assert made.get("a") is None


def test_a_backend_that_comes_back_has_its_gate_again():
    made = gates(backend("a", 7))
    known = made.get("a")
    made.get("a").seat(entry(), 0)
    made.obey(policy(backends=[]))

    made.obey(policy(backends=[backend("a", 5)]))

    assert made.get("a") is known
    assert (known.gone, known.cap) == (False, 5)
    assert made.move(Limit("a", 9, 9, "read", 0, 1.0), 0, None)
    assert known.cap == 5


def test_a_limit_that_is_not_newer_is_not_taken():
    made = gates(backend("a"))

    assert made.move(Limit("a", 1, 1, "read", 0, 2.0), 0, None)
    assert not made.move(Limit("a", 1, 1, "again", 0, 2.0), 0, None)


def test_a_pool_that_no_rule_names_admits_by_the_default_rule():
    made = Gates(POOL)

    made.obey(replace(policy(backends=[backend("a", 9)]), pools={}))

    assert (made.get("a").window, made.get("a").cap) == (3, 9)


def test_a_limit_for_a_backend_that_nobody_knows_is_not_taken():
    assert not gates(backend("a")).move(Limit("ghost", 1, 1, "?", 0, 1.0), 0, None)
