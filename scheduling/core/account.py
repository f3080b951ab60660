"""One holder of limits and all that is known of its allowances.

Pure: the time comes in. ``Scope`` is what the rules say now, ``Account`` what
was used, ``Hold`` what one request has of an account until it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from scheduling.core.allowance import MINUTE_US, Allowance, width_us
from scheduling.core.budget import DAY_S, Budget, day_of, month_begins_s, month_of
from scheduling.core.policy import (
    BUDGET_KINDS,
    MINUTE_KINDS,
    QUEUED,
    REQUESTS_PER_MINUTE,
    SPEND_PER_MONTH,
    TOKENS_PER_DAY,
)

US_PER_MS = 1000

Key = tuple[str, ...]
"""Whose: ("tenant", slug), ("model", slug, model) or ("api_token", number)."""


Need = tuple[str, int, int]
"""A minute's kind, its limit, and how long the demand's part of it takes to come back."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One holder of limits that a request falls under. Made once for many requests.

    ``limits`` maps a quota kind to its limit. A minute's quota whose kind is
    in ``refusing`` refuses when it is used up; the others let requests wait.
    """

    key: Key
    limits: Mapping[str, int]
    refusing: frozenset[str] = frozenset()
    most_queued: int | None = field(init=False, repr=False, compare=False)
    minute_limits: tuple[tuple[str, int], ...] = field(init=False, repr=False, compare=False)
    budget_limits: tuple[tuple[str, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "most_queued", self.limits.get(QUEUED))
        object.__setattr__(self, "minute_limits", self._of(MINUTE_KINDS))
        object.__setattr__(self, "budget_limits", self._of(BUDGET_KINDS))

    def needs(self, demand: Demand) -> list[Need]:
        """What of its minute's quotas the demand takes. A limit of zero takes nothing, and gives nothing."""
        needs = []
        for kind, limit in self.minute_limits:
            need_us = 0
            if limit > 0:
                need_us = (1 if kind == REQUESTS_PER_MINUTE else demand.tokens) * MINUTE_US // limit or 1
            needs.append((kind, limit, need_us))
        return needs

    def _of(self, kinds: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
        return tuple((kind, self.limits[kind]) for kind in kinds if self.limits.get(kind) is not None)


# These three are never changed once they are made, but for a frozen value it would take three times as long.
@dataclass(slots=True)
class Demand:
    """What one request uses: prompt and completion tokens together, and micro-units of money."""

    tokens: int
    spend: int = 0


@dataclass(slots=True)
class Left:
    """What is left of a minute's quota, and how long until all of it is back."""

    limit: int
    remaining: int
    reset_ms: int


@dataclass(slots=True)
class Denied:
    """The quota ``kind`` of ``key`` has no room, and nothing was taken.

    ``retry_ms`` is when there will be room if nobody else comes; None when
    that is not a matter of time: of a queue, or of a request that is larger
    than a whole day's or month's budget.
    """

    kind: str
    key: Key
    limit: int
    retry_ms: int | None = None


@dataclass(slots=True)
class Booking:
    """A request's place in one minute's allowance."""

    allowance: Allowance
    place: int
    kind: str
    limit: int
    width_us: int

    def settle(self, used: Demand, now_us: int) -> None:
        """Replace the estimate by what it was.

        What it was too much is owed from now on: the request may have run
        for longer than the minute in which it was booked.
        """
        if self.kind != REQUESTS_PER_MINUTE:  # one request stays one
            more_us = width_us(used.tokens, self.limit) - self.width_us
            if more_us < 0:
                self.allowance.give_back(self.place, -more_us)
            elif more_us > 0:
                self.allowance.charge(more_us, now_us)
        self.allowance.release(self.place)

    def give_back(self) -> None:
        """Return all of it."""
        self.allowance.give_back(self.place, self.width_us)
        self.allowance.release(self.place)


@dataclass(slots=True)
class Hold:
    """What a request holds of one account: bookings, and the period of each budget, in their order."""

    account: Account
    bookings: list[Booking]
    periods: list[int]

    def correct(self, demand: Demand, used: Demand | None) -> None:
        """Replace the estimate in the budgets; by nothing when nothing was used."""
        tokens, spend = -demand.tokens, -demand.spend
        if used is not None:
            tokens += used.tokens
            spend += used.spend
        for kind, period in zip(BUDGET_KINDS, self.periods, strict=True):
            amount = spend if kind == SPEND_PER_MONTH else tokens
            if amount:
                self.account.budgets[kind].add(amount, period)


class Account:
    """All that is known of one key. ``held`` counts the requests that hold something of it.

    Its budgets count whatever passes, whether or not they have a limit now:
    a limit that is set later finds them as they are.
    """

    __slots__ = ("allowances", "budgets", "held", "queued")

    def __init__(self) -> None:
        self.queued = 0
        self.held = 0
        self.allowances = {kind: Allowance() for kind in MINUTE_KINDS}
        self.budgets = {kind: Budget() for kind in BUDGET_KINDS}

    def idle(self, now_us: int, now_s: int) -> bool:
        """Nothing of it will be missed."""
        return (
            self.held == 0
            and all(each.whole_at_us <= now_us for each in self.allowances.values())
            and all(
                budget.used == 0 or budget.period < period_of(kind, now_s)
                for kind, budget in self.budgets.items()
            )
        )

    def used_up(self, scope: Scope, demand: Demand, now_s: int) -> Denied | None:
        """A limit of the scope that no wait within minutes helps against."""
        most_queued = scope.most_queued
        if most_queued is not None and self.queued >= most_queued:
            return Denied(QUEUED, scope.key, most_queued)
        for kind, limit in scope.budget_limits:
            budget = self.budgets[kind]
            if (period := period_of(kind, now_s)) != budget.period:
                budget.turn_to(period)
            needed = demand.spend if kind == SPEND_PER_MONTH else demand.tokens
            if budget.used + needed > limit:
                fits = needed <= limit
                return Denied(kind, scope.key, limit, next_period_s(kind, now_s) * 1000 if fits else None)
        return None

    def book(self, needs: Iterable[Need], demand: Demand, now_us: int, now_s: int) -> Hold:
        """Take what is needed of the minute's quotas, and the demand's part of all budgets."""
        self.queued += 1
        self.held += 1
        bookings = []
        for kind, limit, need_us in needs:
            allowance = self.allowances[kind]
            bookings.append(Booking(allowance, allowance.take(need_us, now_us), kind, limit, need_us))
        day, month = day_of(now_s), month_of(now_s)
        periods = []
        for kind, budget in self.budgets.items():
            if (period := day if kind == TOKENS_PER_DAY else month) != budget.period:
                period = budget.turn_to(period)
            budget.used += demand.spend if kind == SPEND_PER_MONTH else demand.tokens
            periods.append(period)
        return Hold(self, bookings, periods)

    def seed(self, scope: Scope, used: Mapping[str, int], now_us: int, now_s: int) -> None:
        """Take over what was used before: in the last minute, and in the open day and month."""
        for kind, amount in used.items():
            if budget := self.budgets.get(kind):
                budget.turn_to(period_of(kind, now_s))
                budget.used = max(budget.used, amount)
            elif amount and (limit := scope.limits.get(kind)):
                self.allowances[kind].seed(width_us(amount, limit), now_us)

    def left(self, scope: Scope, kind: str, now_us: int) -> Left | None:
        """What is left of a minute's quota; None when the scope has no such limit."""
        limit = scope.limits.get(kind)
        return self.left_of(kind, limit, now_us) if limit else None

    def left_of(self, kind: str, limit: int, now_us: int) -> Left:
        """The same under a limit above 0."""
        backlog_us = self.allowances[kind].backlog_us(now_us)
        return Left(limit, max(0, MINUTE_US - backlog_us) * limit // MINUTE_US, in_ms(backlog_us))


def period_of(kind: str, now_s: int) -> int:
    """The number of the day or month that a budget counts in."""
    return day_of(now_s) if kind == TOKENS_PER_DAY else month_of(now_s)


def in_ms(span_us: int) -> int:
    """Milliseconds, rounded up."""
    return -(-span_us // US_PER_MS)


def next_period_s(kind: str, now_s: int) -> int:
    """How long until a budget's next period begins."""
    if kind == TOKENS_PER_DAY:
        return (day_of(now_s) + 1) * DAY_S - now_s
    return month_begins_s(month_of(now_s) + 1) - now_s
