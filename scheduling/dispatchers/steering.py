"""Pauses and boosts are rules with a life of their own in the machine: it is told what differs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from scheduling.core.events import Event
from scheduling.core.policy import Policy
from scheduling.core.scheduler import Scheduler


@dataclass(frozen=True, slots=True)
class Orders:
    """Who is paused or boosted under a policy at one moment. ``boosts`` end at a Unix time."""

    tenants: frozenset[str]
    pools: frozenset[str]
    boosts: Mapping[str, tuple[int, float]]
    now_s: float

    @classmethod
    def of(cls, policy: Policy, now_s: float) -> Self:
        """The orders of this policy; boosts that have ended are none."""
        return cls(
            tenants=frozenset(slug for slug, rule in policy.tenants.items() if rule.paused),
            pools=frozenset(name for name, rule in policy.pools.items() if rule.paused),
            boosts={
                slug: (rule.boost, rule.boost_until_s)
                for slug, rule in policy.tenants.items()
                if rule.boost_at(now_s) > 1
            },
            now_s=now_s,
        )


class Steering:
    """What one machine was told of pauses and boosts, so that it is told nothing twice."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._paused: set[str | None] = set()
        self._boosts: Mapping[str, tuple[int, float]] = {}

    def pause(self, orders: Orders, now_ms: int) -> list[Event]:
        """Begin the pauses; before other new rules, or who is to wait gets the seats that come with them."""
        wanted = self._paused_by(orders)
        events: list[Event] = []
        for name in wanted - self._paused:
            events += self._scheduler.pause(name, now_ms)
        self._paused |= wanted
        return events

    def obey(self, orders: Orders, now_ms: int) -> list[Event]:
        """Bring the machine in line with these orders; what it decided then."""
        events = self.pause(orders, now_ms)  # nobody is seated between an old pause and a new one
        wanted = self._paused_by(orders)
        for name in sorted(self._paused - wanted, key=_word):
            events += self._scheduler.resume(name, now_ms)
        self._paused = wanted
        return events + self._boost(orders, now_ms)

    def _paused_by(self, orders: Orders) -> set[str | None]:
        wanted: set[str | None] = {*orders.tenants}
        if self._scheduler.pool in orders.pools:
            wanted.add(None)
        return wanted

    def _boost(self, orders: Orders, now_ms: int) -> list[Event]:
        events: list[Event] = []
        for tenant in sorted({*orders.boosts, *self._boosts}):
            wanted = orders.boosts.get(tenant)
            if wanted != self._boosts.get(tenant):
                factor, until_s = wanted or (1, orders.now_s)
                # The time that is left carries the end from the wall clock to the machine's.
                left_ms = math.ceil((until_s - orders.now_s) * 1000)
                events += self._scheduler.boost(tenant, factor, now_ms + left_ms, now_ms)
        self._boosts = orders.boosts
        return events


def _word(name: str | None) -> str:
    return name or ""
