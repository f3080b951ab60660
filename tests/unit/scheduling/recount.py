"""Two accounts of quotas written apart from the machine: a whole history, counted again from its start."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction

MINUTE_MS = 60_000


@dataclass
class Asked:
    """One request of one holder: when it came, may start, was thought to use, and used in the end."""

    at_ms: int
    at_s: int
    starts_ms: int
    estimate: int
    used: int | None = None  # None: not known yet
    ended_ms: int = 0

    @property
    def amount(self) -> int:
        return self.estimate if self.used is None else self.used

    @property
    def error(self) -> int:
        return abs(self.amount - self.estimate)


def backlog(history: list[Asked], per_minute: int, now_ms: int) -> Fraction:
    """What is still to refill, in tokens: a bucket that leaks ``per_minute`` and that all were poured into.

    Who used less than thought poured less from the start; who used more poured the rest in at its end.
    """
    pours = [(one.at_ms, n, min(one.estimate, one.amount)) for n, one in enumerate(history)]
    pours += [(one.ended_ms, n, one.amount - one.estimate) for n, one in enumerate(history) if one.used]
    level, last_ms = Fraction(0), 0
    for at_ms, _, amount in sorted(pours, key=lambda pour: pour[:2]):
        if amount > 0:
            level = max(Fraction(0), level - Fraction(per_minute * (at_ms - last_ms), MINUTE_MS)) + amount
            last_ms = at_ms
    return max(Fraction(0), level - Fraction(per_minute * (now_ms - last_ms), MINUTE_MS))


def worst_excess(history: list[Asked], per_minute: int) -> Fraction:
    """The most that any span of time saw above a minute's worth and what refilled meanwhile."""
    ran = sorted((one.starts_ms, one.amount) for one in history if one.amount)
    worst = Fraction(0)
    for first, (from_ms, _) in enumerate(ran):
        total = 0
        for until_ms, amount in ran[first:]:
            total += amount
            allowed = per_minute + Fraction(per_minute * (until_ms - from_ms), MINUTE_MS)
            worst = max(worst, total - allowed)
    return worst


def used_in_period(history: list[Asked], now_s: int, *, month: bool) -> int:
    """What the open day or month has seen, by the calendar of the standard library."""

    def period(at_s: int) -> tuple[int, ...]:
        moment = datetime.fromtimestamp(at_s, UTC)
        return (moment.year, moment.month) if month else (moment.year, moment.month, moment.day)

    return sum(one.amount for one in history if period(one.at_s) == period(now_s))
