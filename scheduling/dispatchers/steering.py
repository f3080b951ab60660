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

    def obey(self, orders: Orders, now_ms: int) -> list[Event]:
        """Bring the machine in line with these orders; what it decided then."""
        return self._pause(orders, now_ms) + self._boost(orders, now_ms)

    def _pause(self, orders: Orders, now_ms: int) -> list[Event]:
        wanted: set[str | None] = {*orders.tenants}
        if self._scheduler.pool in orders.pools:
            wanted.add(None)
        events: list[Event] = []
        for name in wanted - self._paused:  # first: nobody is seated between an old pause and a new one
            events += self._scheduler.pause(name, now_ms)
        for name in sorted(self._paused - wanted, key=_word):
            events += self._scheduler.resume(name, now_ms)
        self._paused = wanted
        return events

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
