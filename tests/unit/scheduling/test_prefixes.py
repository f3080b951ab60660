"""A request goes where the head of its prompt is known, if that makes no queue."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.limits import Limit
from scheduling.core.prefixes import KnownPrefixes
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import POOL, backend, policy, ticket


def machine(slack: int | None, seats: int = 9) -> Scheduler:
    rules = policy(backends=[backend("gpu-0", seats), backend("gpu-1", seats)])
    pool = replace(rules.pools[POOL], prefix_slack_requests=slack)
    return Scheduler(POOL, replace(rules, pools={POOL: pool}))


def where(made: Scheduler, name: str, *prefixes: int) -> str:
    (event,) = made.submit(ticket(name, prefixes=prefixes), 0)
    return event.backend


@pytest.mark.parametrize(("slack", "places"), [(None, "010101"), (0, "010101"), (1, "001101"), (2, "000111")])
def test_a_known_prefix_is_worth_its_slack_of_pending_first_tokens_and_no_more(slack, places):
    made = machine(slack)

    assert "".join(where(made, f"acme-{n}", 7)[-1] for n in range(6)) == places


def test_the_longest_known_beginning_decides():
    made = machine(9)
    assert where(made, "acme-0", 1, 2) == "gpu-0"
    made.submit(ticket("acme-1", prefixes=(1, 2, 3), attempt=2, avoid=frozenset({"gpu-0"})), 0)
    made.start("acme-0", 0)

    assert where(made, "acme-2", 1, 2, 3, 4) == "gpu-1"
    assert where(made, "acme-3", 1, 2) == "gpu-0"


def test_a_prompt_that_nobody_knows_goes_in_the_usual_order():
    made = machine(9)
    where(made, "acme-0", 1)

    assert where(made, "beta-0", 2) == "gpu-1"
    assert where(made, "beta-1") == "gpu-0"


def test_a_full_backend_is_waited_for_by_nobody():
    made = machine(9, seats=1)
    where(made, "acme-0", 1)

    assert where(made, "acme-1", 1) == "gpu-1"


def test_a_restarted_engine_knows_no_prefixes():
    made = machine(1)
    made.set_limit(Limit("gpu-1", 9, 9, "read", 1, 1.0), 0)
    made.submit(ticket("acme-0", prefixes=(1,), attempt=2, avoid=frozenset({"gpu-0"})), 0)
    made.finish("acme-0", 10, 0)
    assert where(made, "acme-1", 1) == "gpu-1"
    made.finish("acme-1", 10, 0)
    made.set_limit(Limit("gpu-1", 9, 9, "restarted", 2, 1.0), 0)

    assert where(made, "acme-2", 1) == "gpu-0"


def test_nothing_is_learnt_while_prefixes_do_not_count():
    made = machine(None)
    where(made, "acme-0", 1)

    assert not any(gate.prefixes.longest((1,)) for gate in made._gates)


def test_the_least_recently_used_beginning_is_forgotten_and_the_long_ones_before_the_short(monkeypatch):
    monkeypatch.setattr("scheduling.core.prefixes.MOST_KNOWN", 3)
    known = KnownPrefixes()
    known.learn((1, 2))
    known.learn((5,))
    known.learn((1,))
    known.learn((6,))

    assert [known.longest((each,)) for each in (1, 2, 5, 6)] == [1, 0, 1, 1]
    known.learn((3,))
    assert [known.longest((each,)) for each in (1, 5, 6, 3)] == [1, 0, 1, 1]
    known.learn((7, 8, 9, 10))
    assert [known.longest((each,)) for each in (7, 8, 9, 10)] == [1, 1, 1, 0]


def test_the_longest_is_counted_in_beginnings():
    known = KnownPrefixes()
    assert known.longest((1, 2, 3)) == 0
    known.learn((1, 2))

    assert (known.longest((1, 2, 3)), known.longest((1, 4)), known.longest(()), known.longest((9, 9, 2))) == (
        2,
        1,
        0,
        3,
    )
    known.forget()
    assert known.longest((1, 2, 3)) == 0
