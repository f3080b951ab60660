"""Quotas: what a request needs of every allowance that bounds it, taken at once or not at all.

The second pure machine beside the scheduler: the time comes in, a verdict
goes out. ``in_flight`` is not here, because the scheduler obeys it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scheduling.core.account import (
    US_PER_MS,
    Account,
    Demand,
    Denied,
    Hold,
    Key,
    Left,
    Need,
    Scope,
    in_ms,
    period_of,
)

__all__ = ["Demand", "Denied", "Granted", "Key", "Left", "Quotas", "Scope", "Verdict", "WaitUntil"]

Pairs = Sequence[tuple[Scope, Account, list[Need]]]


@dataclass(slots=True, eq=False)
class Granted:
    """What a request holds. ``left`` maps a minute's kind to the scope with the least of it left.

    Only the machine changes it.
    """

    demand: Demand
    left: Mapping[str, Left] = field(default_factory=dict)
    holds: Sequence[Hold] = ()
    in_line: bool = True
    open: bool = True


@dataclass(slots=True)
class WaitUntil:
    """The allowance is booked, and comes at ``not_before_ms``."""

    granted: Granted
    not_before_ms: int


Verdict = Granted | WaitUntil | Denied


class Quotas:
    """All accounts. Every grant ends by ``settle`` or ``give_back``; a second end changes nothing."""

    def __init__(self) -> None:
        self._accounts: dict[Key, Account] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    def reserve(
        self, scopes: Sequence[Scope], demand: Demand, now_ms: int, now_s: int, deadline_ms: int | None
    ) -> Verdict:
        """Take what the request needs of every scope, or nothing at all.

        ``now_ms`` is monotonic, ``now_s`` Unix time. Where a minute's
        allowance comes later but before the deadline, it is booked ahead.
        A request larger than a whole minute waits until the allowance is
        whole and leaves a debt (see ``Allowance.wait_us``).
        """
        pairs = []
        for scope in scopes:
            account = self._accounts.get(scope.key) or Account()
            if denied := account.used_up(scope, demand, now_s):
                return denied
            pairs.append((scope, account, scope.needs(demand)))
        wait_ms = _wait_ms(pairs, now_ms, deadline_ms)
        if isinstance(wait_ms, Denied):
            return wait_ms
        now_us = now_ms * US_PER_MS
        holds = []
        for scope, account, needs in pairs:
            self._accounts[scope.key] = account
            holds.append(account.book(needs, demand, now_us, now_s))
        granted = Granted(demand, _least_left(pairs, now_us), holds)
        return WaitUntil(granted, now_ms + wait_ms) if wait_ms else granted

    def seated(self, granted: Granted) -> None:
        """The request left the line for a backend."""
        _count(granted, in_line=False)

    def requeued(self, granted: Granted) -> None:
        """The engine was busy: the request stands in line again. It is not asked for room twice."""
        _count(granted, in_line=True)

    def settle(self, granted: Granted, used: Demand, now_ms: int) -> None:
        """Replace the estimate by what it was, in the minute and period of the reservation."""
        for hold in _end(granted):
            for booking in hold.bookings:
                booking.settle(used, now_ms * US_PER_MS)
            hold.correct(granted.demand, used)

    def give_back(self, granted: Granted) -> None:
        """The request did not run, or its engine did nothing: all returns."""
        for hold in _end(granted):
            for booking in hold.bookings:
                booking.give_back()
            hold.correct(granted.demand, None)

    def seed(self, scope: Scope, used: Mapping[str, int], now_ms: int, now_s: int) -> None:
        """Take over what was used before, by kind: in the last minute, and in the open day and month.

        Never lowers anything.
        """
        account = self._accounts.setdefault(scope.key, Account())
        account.seed(scope, used, now_ms * US_PER_MS, now_s)

    def forget_idle(self, now_ms: int, now_s: int) -> None:
        """Drop accounts that hold nothing, owe nothing, and have used nothing of an open period."""
        now_us = now_ms * US_PER_MS
        for key in [key for key, account in self._accounts.items() if account.idle(now_us, now_s)]:
            del self._accounts[key]

    def left(self, scope: Scope, kind: str, now_ms: int) -> Left | None:
        """What is left of a minute's quota; None when the scope has no such limit, or takes nothing."""
        account = self._accounts.get(scope.key) or Account()
        return account.left(scope, kind, now_ms * US_PER_MS)

    def queued(self, key: Key) -> int:
        """How many requests of this key stand in line."""
        account = self._accounts.get(key)
        return account.queued if account else 0

    def used(self, key: Key, kind: str, now_s: int) -> int:
        """What is used of a budget's open period, held estimates included."""
        account = self._accounts.get(key)
        if account is None or account.budgets[kind].period < period_of(kind, now_s):
            return 0
        return account.budgets[kind].used


def _wait_ms(pairs: Pairs, now_ms: int, deadline_ms: int | None) -> int | Denied:
    """How long until every minute's quota has room, or the one that refuses."""
    refused: Denied | None = None
    longest_ms, now_us = 0, now_ms * US_PER_MS
    for scope, account, needs in pairs:
        for kind, limit, need_us in needs:
            if limit < 1:
                return Denied(kind, scope.key, limit)
            wait_us = account.allowances[kind].wait_us(need_us, now_us)
            if not wait_us:
                continue
            wait_ms = in_ms(wait_us)
            late = deadline_ms is not None and now_ms + wait_ms >= deadline_ms
            if (late or kind in scope.refusing) and (refused is None or wait_ms > longest_ms):
                refused = Denied(kind, scope.key, limit, wait_ms)
            longest_ms = max(longest_ms, wait_ms)
    if refused is None:
        return longest_ms
    return Denied(refused.kind, refused.key, refused.limit, longest_ms)


def _least_left(pairs: Pairs, now_us: int) -> dict[str, Left]:
    found: dict[str, Left] = {}
    for _, account, needs in pairs:
        for kind, limit, _ in needs:  # none has a limit of 0: that is a refusal
            left = account.left_of(kind, limit, now_us)
            if kind not in found or left.remaining < found[kind].remaining:
                found[kind] = left
    return found


def _count(granted: Granted, *, in_line: bool) -> None:
    if granted.in_line != in_line:
        granted.in_line = in_line
        for hold in granted.holds:
            hold.account.queued += 1 if in_line else -1


def _end(granted: Granted) -> Iterable[Hold]:
    if not granted.open:
        return ()
    _count(granted, in_line=False)
    granted.open = False
    for hold in granted.holds:
        hold.account.held -= 1
    return granted.holds
