"""A ticket that is seated at once leaves everything as if it had stood in line for no time."""

from __future__ import annotations

import random

import pytest

from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.histories import random_policy, random_step
from tests.unit.scheduling.machines import POOL, dispatched, policy, ticket
from tests.unit.scheduling.referee import Referee

STEPS = 120


class InLine(Scheduler):
    """The machine, but for every ticket that goes the long way."""

    def _seat_at_once(self, entry, now_ms):
        return None


class Both:
    """Two machines that are told the same, and must answer the same."""

    def __init__(self, rules):
        self.short, self.long = Scheduler(POOL, rules), InLine(POOL, rules)

    def __getattr__(self, name):
        mine, theirs = getattr(self.short, name), getattr(self.long, name)
        if name.startswith("_") or not callable(mine) or name == "next_due_ms":
            return mine

        def told(*args, **options):
            answer = mine(*args, **options)
            assert answer == theirs(*args, **options), name
            return answer

        return told


@pytest.mark.parametrize("seed", range(25))
def test_the_short_way_and_the_line_decide_alike(seed):
    rng = random.Random(seed)
    referee = Referee(random_policy(rng, 1))
    referee.machine = both = Both(referee.policy)
    for number in range(STEPS):
        if rng.random() < 0.3:  # empty the line now and then, or nobody would find it empty
            for request_id in sorted(referee.waiting):
                referee.cancel(request_id)
        random_step(referee, rng, number)
        now_ms = referee.now
        assert both.short.view(now_ms) == both.long.view(now_ms)
        assert [gate.since_promoted for gate in both.short._gates] == [
            gate.since_promoted for gate in both.long._gates
        ]
    referee.drain()


def test_a_ticket_that_is_seated_at_once_leaves_nothing_to_wait_for():
    machine = Scheduler(POOL, policy())
    assert dispatched(machine.submit(ticket("acme-0", deadline_ms=10), 0)) == ["acme-0"]
    assert machine.next_due_ms() is None
