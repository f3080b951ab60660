"""Histories about shares, and what an independent reckoning says they should have been."""

from __future__ import annotations

import random
from collections.abc import Mapping

from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import POOL, dispatched, policy, serve_all, ticket


def water_fill(demands: Mapping[str, int], weights: Mapping[str, int], capacity: float) -> dict[str, float]:
    """Weighted max-min shares: raise all levels together; who is satisfied drops out.

    Written from the definition, without tags or virtual time.
    """
    shares = dict.fromkeys(demands, 0.0)
    hungry = {name for name, demand in demands.items() if demand}
    left = float(min(capacity, sum(demands.values())))
    while hungry and left > 1e-9:
        total = sum(weights[name] for name in hungry)
        rise = min(left / total, *((demands[name] - shares[name]) / weights[name] for name in hungry))
        for name in hungry:
            shares[name] += rise * weights[name]
        left -= rise * total
        hungry = {name for name in hungry if demands[name] - shares[name] > 1e-9}
    return shares


def serve_some(
    costs: Mapping[str, list[int]],
    weights: Mapping[str, int],
    share: float,
    seats: int,
    fairness: str = "token_fair",
):
    """Submit all at once, serve until ``share`` of the cost has been charged; the charges."""
    machine = Scheduler(POOL, policy(fairness, weights=weights, seats=seats))
    running, charged = [], dict.fromkeys(costs, 0)
    cost_by_name = {f"{t}-{n}": cost for t, line in costs.items() for n, cost in enumerate(line)}
    longest = max(map(len, costs.values()))
    # The first seats go before anybody waits: a plug that costs next to nothing takes them all.
    for n in range(seats):
        running += dispatched(machine.submit(ticket(f"plug-{n}", cost=1), 0))
    for n in range(longest):
        for tenant, line in costs.items():
            if n < len(line):
                machine.submit(ticket(f"{tenant}-{n}", cost=line[n]), 0)
    goal = share * sum(cost_by_name.values())
    while running and sum(charged.values()) < goal:
        name = running.pop(0)
        for seated in dispatched(machine.finish(name, cost_by_name.get(name, 1), 0)):
            running.append(seated)
            charged[seated.partition("-")[0]] += cost_by_name[seated]
    return charged


class Rivalry:
    """Tenants that never stop waiting, among others who come and go.

    ``gap`` is the largest difference of charged cost per weight that was
    seen between two of them, ``bound`` what the docstring of TokenFair allows.
    """

    def __init__(self, seed: int, *, wrong_by: int = 0, seats: int = 2, steps: int = 400) -> None:
        self.rng = random.Random(seed)
        self.weights = {name: self.rng.randint(1, 10) for name in ("acme", "beta", "late")}
        self.machine = Scheduler(POOL, policy(weights=self.weights, seats=seats + 1))
        # It is known all the time by a request that never ends, but does not wait.
        self.machine.submit(ticket("late-0", cost=10), 0)
        self.largest = {name: self.rng.choice((10, 2000)) for name in self.weights}
        self.wrong_by = wrong_by
        self.seats = seats
        self.number = 0
        self.cost: dict[str, int] = {}
        self.running: list[str] = []
        self.service: dict[str, int] = {}
        self.gap = 0.0
        self._begin("acme", "beta")
        self._go_on(steps)

    def welcome(self, name: str, steps: int = 200) -> None:
        """One more begins to wait, and the reckoning begins anew."""
        self._begin(*self.service, name)
        self._go_on(steps)

    def _begin(self, *names: str) -> None:
        for name in names * 5:
            self._submit(name)
        self.service = dict.fromkeys(names, 0)

    def _go_on(self, steps: int) -> None:
        for _ in range(steps):
            self._step()

    @property
    def bound(self) -> float:
        # Tags stand in whole milli-tokens per weight: rounding moves each by less than one a ticket.
        rounding = 0.01 * len(self.cost)
        steps = [
            (self.largest[name] + self.seats * self._error(name)) / self.weights[name]
            for name in self.service
        ]
        return rounding + sum(sorted(steps)[-2:])

    def _error(self, tenant: str) -> int:
        """By how much one open estimate may be wrong; a refund is wrong by all of it."""
        return max(self.wrong_by, self.largest[tenant]) if self.wrong_by else 0

    def _submit(self, tenant: str) -> None:
        self.number += 1
        name = f"{tenant}-{self.number}"
        self.cost[name] = self.rng.randint(1, self.largest.get(tenant, 500))
        self._seat(self.machine.submit(ticket(name, cost=self.cost[name]), 0))

    def _seat(self, events) -> None:
        for name in dispatched(events):
            self.running.append(name)
            self._book(name, self.cost[name])

    def _book(self, name: str, cost: int) -> None:
        tenant = name.partition("-")[0]
        if tenant in self.service:
            self.service[tenant] += cost

    def _step(self) -> None:
        if self.rng.random() < 0.2:
            self._submit(f"guest{self.rng.randrange(3)}")
        name = self.running.pop(self.rng.randrange(len(self.running)))
        tenant = name.partition("-")[0]
        if tenant in self.service:
            self._submit(tenant)  # before its seat is free: it never stops waiting
        refund = self.wrong_by > 0 and self.rng.random() < 0.1
        actual = max(0, self.cost[name] + self.rng.randint(-self.wrong_by, self.wrong_by))
        self._book(name, (0 if refund else actual) - self.cost[name])
        self._seat(self.machine.finish(name, actual, 0, refund=refund))
        self.gap = max(self.gap, self._difference())

    def _difference(self) -> float:
        levels = [service / self.weights[name] for name, service in self.service.items()]
        return max(levels) - min(levels)


def seats_after_a_refund(seed: int, *, refunded: bool) -> list[str]:
    """The order of seats when one more request was seated first, and given back in full, or never was."""
    rng = random.Random(seed)
    machine = Scheduler(POOL, policy(weights={"acme": rng.randint(1, 9), "beta": rng.randint(1, 9)}))
    running = dispatched(machine.submit(ticket("plug-0"), 0))
    if refunded:
        machine.submit(ticket("acme-broken", cost=rng.randint(1, 9000)), 0)
    for n in range(20):
        machine.submit(ticket(f"acme-{n}"), 0)
        machine.submit(ticket(f"beta-{n}"), 0)
    running = dispatched(machine.finish(running[0], 100, 0))
    if refunded:
        running = dispatched(machine.finish("acme-broken", 777, 0, refund=True))
    return serve_all(machine, running)


def pick_after_a_refund() -> str:
    """Who is seated when a request ends that kept its tenant from being seated, and is given back."""
    machine = Scheduler(POOL, policy(seats=2))
    for name in ("plug-0", "plug-1"):
        machine.submit(ticket(name), 0)
    machine.submit(ticket("acme-broken", cost=9000), 0)
    for n in range(9):
        machine.submit(ticket(f"acme-{n}"), 0)
        machine.submit(ticket(f"beta-{n}"), 0)
    for name in ("plug-0", "plug-1", "beta-0"):
        machine.finish(name, 100, 0)
    (seated,) = dispatched(machine.finish("acme-broken", 0, 0, refund=True))
    return seated
