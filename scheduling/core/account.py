"""One holder of limits and all that is known of its allowances.

Pure: the time comes in. ``Scope`` is what the rules say now, ``Account`` what
was used, ``Granted`` what one request holds of an account until it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from scheduling.core.allowance import MINUTE_US, Allowance, width_us
from scheduling.core.budget import DAY_S, Budgets, Period, day_of, month_begins_s, month_of, period_of_day
from scheduling.core.pace import Pace
from scheduling.core.policy import (
    BUDGET_KINDS,
    MINUTE_KINDS,
    QUEUED,
    REQUESTS_PER_MINUTE,
    SPEND_PER_MONTH,
    TOKENS_PER_DAY,
    TOKENS_PER_MINUTE,
    TOKENS_PER_MONTH,
)

US_PER_MS = 1000
UNBOUNDED = 1 << 62  # more than any budget will ever hold

Key = tuple[str, ...]
"""Whose: ("tenant", slug), ("model", slug, model) or ("api_token", number)."""

Demand = tuple[int, int]
"""What one request uses: prompt and completion tokens together, and micro-units of money.
A tuple, because one is made for each request, and an object takes six times as long."""

Need = tuple[str, int, int]
"""A minute's kind, its limit, and how long the demand's part of it takes to come back."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One holder of limits that a request falls under. Made once for many requests.

    ``limits`` maps a quota kind to its limit. A minute's quota whose kind is
    in ``refusing`` refuses when it is used up; the others let requests wait.
    The rest follows from the limits: where there is none, a bound is
    ``UNBOUNDED``, nothing takes no time, and the others are None.
    """

    key: Key
    limits: Mapping[str, int]
    refusing: frozenset[str] = frozenset()
    most_queued: int | None = field(init=False, repr=False, compare=False)
    room_in_line: int = field(init=False, repr=False, compare=False)  # none where a minute's limit is zero
    request_us: int = field(init=False, repr=False, compare=False)  # until one request has come back
    minute_requests: int | None = field(init=False, repr=False, compare=False)
    minute_tokens: int | None = field(init=False, repr=False, compare=False)
    token_rate: int = field(init=False, repr=False, compare=False)  # the same as a bound
    day_tokens: int = field(init=False, repr=False, compare=False)
    month_tokens: int = field(init=False, repr=False, compare=False)
    month_spend: int = field(init=False, repr=False, compare=False)
    minute_limits: tuple[tuple[str, int], ...] = field(init=False, repr=False, compare=False)
    budget_limits: tuple[tuple[str, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        limits = self.limits
        requests, tokens = limits.get(REQUESTS_PER_MINUTE), limits.get(TOKENS_PER_MINUTE)
        closed = any(limit < 1 for _, limit in self._of(MINUTE_KINDS))
        room = 0 if closed else _bound(limits, QUEUED)
        follow = {
            "most_queued": limits.get(QUEUED),
            "room_in_line": room,
            "request_us": width_us(1, requests) if requests else 0,
            "minute_requests": requests,
            "minute_tokens": tokens,
            "token_rate": tokens or UNBOUNDED,
            "day_tokens": _bound(limits, TOKENS_PER_DAY),
            "month_tokens": _bound(limits, TOKENS_PER_MONTH),
            "month_spend": _bound(limits, SPEND_PER_MONTH),
            "minute_limits": self._of(MINUTE_KINDS),
            "budget_limits": self._of(BUDGET_KINDS),
        }
        for name, value in follow.items():
            object.__setattr__(self, name, value)

    def needs(self, demand: Demand) -> list[Need]:
        """What of its minute's quotas the demand takes. A limit of zero takes nothing, and gives nothing."""
        needs = []
        for kind, limit in self.minute_limits:
            amount = 1 if kind == REQUESTS_PER_MINUTE else demand[0]
            needs.append((kind, limit, width_us(amount, limit) if limit > 0 else 0))
        return needs

    def _of(self, kinds: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
        return tuple((kind, self.limits[kind]) for kind in kinds if self.limits.get(kind) is not None)


class Left(msgspec.Struct, gc=False):
    """What is left of a minute's quota, and how long until all of it is back."""

    limit: int
    remaining: int
    reset_ms: int


# Never changed once it is made, but for a frozen value that would take three times as long.
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


class Account:
    """All that is known of one key. ``places`` are of the requests that hold something of it.

    Its budgets count whatever passes, whether or not they have a limit now:
    a limit that is set later finds them as they are.
    """

    __slots__ = ("budgets", "pace", "places", "queued", "requests", "taken", "tokens")

    def __init__(self) -> None:
        self.queued = 0
        self.taken = 0  # the latest place
        self.places: dict[int, None] = {}
        self.requests = Allowance(self.places)
        self.tokens = Allowance(self.places)
        self.budgets = Budgets()
        self.pace: Pace | None = None  # of the line, where that is bounded and somebody left it of late

    def allowance(self, kind: str) -> Allowance:
        """The minute's allowance of one kind."""
        return self.requests if kind == REQUESTS_PER_MINUTE else self.tokens

    def idle(self, now_ms: int, now_s: int) -> bool:
        """Nothing of it will be missed."""
        now_us, period = now_ms * US_PER_MS, period_at(now_s)
        return (
            not self.places
            and self.pace is None
            and all(self.allowance(kind).whole_at_us <= now_us for kind in MINUTE_KINDS)
            and not any(self.budgets.used(kind, period) for kind in BUDGET_KINDS)
        )

    def paced(self) -> Pace:
        """The pace of the line, from now on."""
        self.pace = Pace()
        return self.pace

    def place_in_ms(self, now_ms: int) -> int | None:
        """About how long until a request leaves this line, and so leaves a place in it."""
        return self.pace.wait_ms(1, now_ms) if self.pace else None

    def used_up(self, scope: Scope, demand: Demand, now_s: int) -> Denied | None:
        """A limit of the scope that no wait within minutes helps against."""
        most_queued = scope.most_queued
        if most_queued is not None and self.queued >= most_queued:
            return Denied(QUEUED, scope.key, most_queued)
        (tokens, spend), period = demand, self.budgets.period
        for kind, limit in scope.budget_limits:
            needed = spend if kind == SPEND_PER_MONTH else tokens
            if self.budgets.used(kind, period) + needed > limit:
                fits = needed <= limit
                return Denied(kind, scope.key, limit, next_period_s(kind, now_s) * 1000 if fits else None)
        return None

    def owe(self, more_us: int, now_us: int) -> None:
        """Take so much more of the minute for tokens, for good."""
        self.taken += 1
        self.tokens.take(self.taken, more_us, now_us)

    def seed(self, scope: Scope, used: Mapping[str, int], now_us: int, now_s: int) -> None:
        """Take over what was used before: in the last minute, and in the open day and month."""
        for kind, amount in used.items():
            if kind in BUDGET_KINDS:
                self.budgets.turn_to(period_at(now_s))
                self.budgets.seed(kind, amount)
            elif amount and (limit := scope.limits.get(kind)):
                self.allowance(kind).seed(width_us(amount, limit), now_us)

    def left(self, scope: Scope, kind: str, now_us: int) -> Left | None:
        """What is left of a minute's quota; None when the scope has no such limit."""
        limit = scope.limits.get(kind)
        return left_of(limit, self.allowance(kind).backlog_us(now_us)) if limit else None


def _bound(limits: Mapping[str, int], kind: str) -> int:
    limit = limits.get(kind)
    return UNBOUNDED if limit is None else limit


def left_of(limit: int, backlog_us: int) -> Left:
    """What a backlog leaves of a minute's limit above 0."""
    remaining = (MINUTE_US - backlog_us) * limit // MINUTE_US if backlog_us < MINUTE_US else 0
    return Left(limit, remaining, -(-backlog_us // US_PER_MS))


def period_at(now_s: int) -> Period:
    """The day and the month that budgets count in."""
    return period_of_day(day_of(now_s))


def in_ms(span_us: int) -> int:
    """Milliseconds, rounded up."""
    return -(-span_us // US_PER_MS)


def next_period_s(kind: str, now_s: int) -> int:
    """How long until a budget's next period begins."""
    if kind == TOKENS_PER_DAY:
        return (day_of(now_s) + 1) * DAY_S - now_s
    return month_begins_s(month_of(now_s) + 1) - now_s
