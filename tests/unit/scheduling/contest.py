"""Two tenants that never stop waiting, among guests, under any order: how far apart are they served?"""

from __future__ import annotations

import random

from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import POOL, dispatched, policy, ticket

QUANTUM = 1000  # cost tokens a round and unit of weight, as the card of deficit_round_robin says
ERROR = 700  # by how much an estimate may be wrong, in cost tokens


class Contest:
    """Plays one random history and keeps an account of its own, in the unit of the order.

    ``gap`` is the largest difference of service per weight that was seen
    between the two, ``bound`` what the policy's card allows.
    """

    def __init__(self, fairness: str, seed: int, *, seats: int = 3, steps: int = 400) -> None:
        self.rng = random.Random(seed)
        self.fairness = fairness
        self.seats = seats
        self.weights = {name: self.rng.randint(1, 10) for name in ("acme", "beta")}
        self.largest = {
            name: self.rng.choice((10, 900)) for name in self.weights
        }  # prompt and completion tokens
        self.machine = Scheduler(POOL, policy(fairness, weights=self.weights, seats=seats))
        self.shape: dict[str, tuple[int, int]] = {}
        self.booked: dict[str, float] = {}
        self.service = dict.fromkeys(self.weights, 0.0)
        self.running: list[str] = []
        self.number = 0
        self.gap = 0.0
        self.worst_pick = 0.0
        for name in ("acme", "beta") * (seats + 2):
            self._submit(name)
        self.service = dict.fromkeys(self.weights, 0.0)
        for _ in range(steps):
            self._step()

    @property
    def bound(self) -> float:
        rounding = 0.02 * self.number
        return rounding + sum(self._reach(name) / self._weight(name) for name in self.service)

    def _reach(self, name: str) -> float:
        """How far one tenant's service may run from where its order has it."""
        tokens = self.largest[name]
        wrong = self.seats * (3 * tokens + ERROR)  # every open estimate, or refund, is wrong by all of it
        return {
            "round_robin": 1 + self.seats,
            "weighted_round_robin": 1 + self.seats,
            "deficit_round_robin": 2 * QUANTUM * self._weight(name) + 3 * tokens + wrong,
            "vtc": tokens + self.seats * (3 * tokens + 2 * ERROR),
            "token_fair": 3 * tokens + wrong,
        }[self.fairness]

    def _weight(self, name: str) -> int:
        return 1 if self.fairness == "round_robin" else self.weights[name]

    def _submit(self, tenant: str) -> None:
        self.number += 1
        name = f"{tenant}-{self.number}"
        most = self.largest.get(tenant, 300)
        prompt, completion = self.rng.randint(1, most), self.rng.randint(1, most)
        self.shape[name] = (prompt, completion)
        one = ticket(name, prompt_tokens=prompt, completion_tokens=completion)
        self._seat(self.machine.submit(one, 0))

    def _seat(self, events) -> None:
        for name in dispatched(events):
            self.running.append(name)
            prompt, completion = self.shape[name]
            turns = self.fairness in ("round_robin", "weighted_round_robin")
            at_once = 1 if turns else prompt if self.fairness == "vtc" else prompt + 2 * completion
            self._book(name, at_once)

    def _book(self, name: str, total: float) -> None:
        """This request has been served so much, all told."""
        tenant = name.partition("-")[0]
        if tenant in self.service:
            self.service[tenant] += total - self.booked.get(name, 0)
        self.booked[name] = total

    def _step(self) -> None:
        if self.rng.random() < 0.15:
            self._submit(f"guest{self.rng.randrange(3)}")
        name = self.rng.choice(self.running)
        prompt, completion = self.shape[name]
        if self.fairness == "vtc" and self.rng.random() < 0.5:
            said = self.rng.randint(0, completion)
            said = max(said, int((self.booked[name] - prompt) // 2))
            self.machine.progress(name, said, 0)
            self._book(name, prompt + 2 * said)
        else:
            self._end(name)
        levels = [self.service[each] / self._weight(each) for each in self.service]
        self.gap = max(self.gap, abs(levels[0] - levels[1]))

    def _end(self, name: str) -> None:
        self.running.remove(name)
        tenant = name.partition("-")[0]
        if tenant in self.service:
            self._submit(tenant)  # before its seat is free: it never stops waiting
        prompt, completion = self.shape[name]
        refund = self.rng.random() < 0.1
        actual = max(1, prompt + 2 * completion + self.rng.randint(-ERROR, ERROR))
        turns = self.fairness in ("round_robin", "weighted_round_robin")
        self._book(name, 0 if refund else 1 if turns else actual)
        self._seat(self.machine.finish(name, actual, 0, refund=refund))
