"""No tenant gets further ahead of another than its policy's card says, in simulated traffic over ten seeds.

The scheduler knows how long answers will be, so that no open estimate widens the bound.
"""

from __future__ import annotations

from itertools import combinations

import pytest

from scheduling.core.scheduler import Scheduler
from scheduling.core.usage import cost_of
from scheduling.simulation import front
from scheduling.simulation.scenario import Scenario
from scheduling.simulation.simulate import play
from scheduling.simulation.workloads import Overrides, make

SEEDS = range(1, 11)
QUANTUM = 1000  # cost tokens a round and unit of weight, as the card of deficit_round_robin says
ROUNDING = 1  # tags stand in whole milli-tokens per weight, a fraction of one a request


class Watched(Scheduler):
    """Keeps an account of its own of what each tenant was given, and how far apart any two came.

    ``gaps`` has, for every seat and every two tenants in line, the difference
    since both began to wait, and what their policy's card allows.
    """

    gaps: list[tuple[float, float]]

    def __init__(self, pool, policy):
        super().__init__(pool, policy)
        self.given, self.largest, self.since = {}, {}, {}

    def _run(self, entry, gate, now_ms):
        super()._run(entry, gate, now_ms)
        tenant, unit = entry.ticket.tenant, self._unit(entry.ticket)
        self.given[tenant] = self.given.get(tenant, 0) + unit
        self.largest[tenant] = max(self.largest.get(tenant, 0), unit)
        waiting = [name for name in self.roster if self.bands.in_line_of(name)]
        apart = {pair: self._apart(*pair) for pair in combinations(sorted(waiting), 2)}
        self.since = {pair: self.since.get(pair, now) for pair, now in apart.items()}
        for pair, now in apart.items():
            self.gaps.append((abs(now - self.since[pair]), sum(map(self._reach, pair))))

    def _apart(self, one, other):
        return self.given.get(one, 0) / self._weight_of(one) - self.given.get(other, 0) / self._weight_of(
            other
        )

    def _unit(self, ticket):
        turns = self._rule.fairness == "weighted_round_robin"
        return 1 if turns else cost_of(ticket.prompt_tokens, ticket.completion_tokens)

    def _reach(self, name):
        """How far ahead the card lets one of two tenants be, per weight."""
        quanta = 2 * QUANTUM if self._rule.fairness == "deficit_round_robin" else 0
        return self.largest.get(name, 0) / self._weight_of(name) + quanta + ROUNDING


@pytest.mark.parametrize("name", ["overload-weighted", "poisson_short_long"])
@pytest.mark.parametrize("fairness", ["token_fair", "weighted_round_robin", "deficit_round_robin"])
def test_the_gap_of_service_stays_within_the_cards_bound(name, fairness, monkeypatch):
    gaps = []
    monkeypatch.setattr(Watched, "gaps", gaps, raising=False)
    monkeypatch.setattr(front, "Scheduler", Watched)

    for seed in SEEDS:
        play(Scenario(make(name, seed, Overrides(seconds=90)), fairness, knows_lengths=True))

    assert len(gaps) > 500
    assert [(gap, bound) for gap, bound in gaps if gap > bound] == []
