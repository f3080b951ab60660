"""Quotas: what a request needs of every allowance that bounds it, taken at once or not at all.

The second pure machine beside the scheduler: the time comes in, a verdict
goes out. ``in_flight`` is not here, because the scheduler obeys it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scheduling.core.account import (
    US_PER_MS,
    Account,
    Demand,
    Denied,
    Key,
    Left,
    Scope,
    in_ms,
    period_at,
)
from scheduling.core.allowance import MINUTE_US
from scheduling.core.holder import NOTHING, UNKNOWN, Granted, Holder

__all__ = ["NOTHING", "Demand", "Denied", "Granted", "Holder", "Key", "Left", "Quotas", "Scope", "Verdict"]

Asked = Sequence[tuple[Scope, Account]]
"""Under whose limits a request falls, and what was used of those."""


Verdict = Granted | Denied


class Quotas:
    """All accounts."""

    def __init__(self) -> None:
        self._accounts: dict[Key, Account] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    def holders(self, scopes: Sequence[Scope]) -> Sequence[Holder]:
        """The scopes, for ``reserve``: as often as you like, and for as long as these limits hold."""
        holders: list[Holder] = []
        for scope in reversed(scopes):
            known = self._accounts.get(scope.key, UNKNOWN)
            holders.append(Holder(scope, known, holders[-1] if holders else None))
        return holders[::-1]

    def reserve(
        self, holders: Sequence[Holder], demand: Demand, now_ms: int, now_s: float, deadline_ms: int | None
    ) -> Verdict:
        """Take what the request needs of every holder, or nothing at all.

        ``now_ms`` is monotonic, ``now_s`` Unix time. Where a minute's
        allowance comes later but before the deadline, it is booked ahead.
        A request larger than a whole minute waits until the allowance is
        whole and leaves a debt (see ``Allowance.wait_us``).
        """
        if not holders:
            return NOTHING
        now_us = now_ms * US_PER_MS
        granted = holders[0].take(demand, now_us, now_us + MINUTE_US, now_s)  # as nearly always
        return granted or self._weigh(holders, demand, now_ms, int(now_s), deadline_ms)

    def _weigh(
        self, holders: Sequence[Holder], demand: Demand, now_ms: int, now_s: int, deadline_ms: int | None
    ) -> Verdict:
        """``reserve``, one limit after the other. An account that is new is kept once something is taken."""
        asked = []
        for holder in holders:
            account = self._accounts.get(holder.scope.key) or Account()
            account.budgets.turn_to(period_at(now_s))
            asked.append((holder.scope, account))
        verdict = _used_up(asked, demand, now_s) or _wait_ms(asked, demand, now_ms, deadline_ms)
        if isinstance(verdict, Denied):
            return verdict
        for holder, (scope, account) in zip(holders, asked, strict=True):
            holder.account = self._accounts[scope.key] = account
        granted = holders[0].take(demand, now_ms * US_PER_MS, None, now_s)
        if verdict:
            granted.not_before_ms = now_ms + verdict
        return granted

    def seed(self, scope: Scope, used: Mapping[str, int], now_ms: int, now_s: int) -> None:
        """Take over what was used before, by kind: in the last minute, and in the open day and month.

        Never lowers anything.
        """
        account = self._accounts.setdefault(scope.key, Account())
        account.seed(scope, used, now_ms * US_PER_MS, now_s)

    def forget_idle(self, now_ms: int, now_s: int) -> None:
        """Drop accounts that hold nothing, owe nothing, and have used nothing of an open period."""
        for key, account in list(self._accounts.items()):
            if account.place_in_ms(now_ms) is None:
                account.pace = None
            if account.idle(now_ms, now_s):
                account.budgets.ends_s = 0  # so whoever knows it asks for it anew
                del self._accounts[key]

    def left(self, scope: Scope, kind: str, now_ms: int) -> Left | None:
        """What is left of a minute's quota; None when the scope has no such limit, or takes nothing."""
        account = self._accounts.get(scope.key) or Account()
        return account.left(scope, kind, now_ms * US_PER_MS)

    def queued(self, key: Key) -> int:
        """How many requests of this key stand in line."""
        account = self._accounts.get(key)
        return account.queued if account else 0

    def place_in_ms(self, key: Key, now_ms: int) -> int | None:
        """About how long until a request of this key leaves the line, where that is bounded and moves."""
        account = self._accounts.get(key)
        return account.place_in_ms(now_ms) if account else None

    def used(self, key: Key, kind: str, now_s: int) -> int:
        """What is used of a budget's open period, held estimates included."""
        account = self._accounts.get(key)
        return account.budgets.used(kind, period_at(now_s)) if account else 0


def _used_up(asked: Asked, demand: Demand, now_s: int) -> Denied | None:
    """The first limit that no wait within minutes helps against."""
    for scope, account in asked:
        if denied := account.used_up(scope, demand, now_s):
            return denied
    return None


def _wait_ms(asked: Asked, demand: Demand, now_ms: int, deadline_ms: int | None) -> int | Denied:
    """How long until every minute's quota has room, or the one that refuses."""
    refused: Denied | None = None
    longest_ms, now_us = 0, now_ms * US_PER_MS
    for scope, account in asked:
        for kind, limit, need_us in scope.needs(demand):
            if limit < 1:
                return Denied(kind, scope.key, limit)
            wait_us = account.allowance(kind).wait_us(need_us, now_us)
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
