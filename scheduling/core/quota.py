"""Quotas: what a request needs of every allowance that bounds it, taken at once or not at all.

The second pure machine beside the scheduler: the time comes in, a verdict
goes out. ``in_flight`` is not here, because the scheduler obeys it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from scheduling.core.account import (
    US_PER_MS,
    Account,
    Demand,
    Denied,
    Hold,
    Key,
    Left,
    Scope,
    in_ms,
    left_of,
    period_at,
)
from scheduling.core.allowance import MINUTE_US
from scheduling.core.budget import DAY_S, Period, period_of_day
from scheduling.core.policy import REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE

__all__ = ["Demand", "Denied", "Granted", "Key", "Left", "Quotas", "Scope", "Verdict", "WaitUntil"]

Asked = list[tuple[Scope, Account, int]]
"""Under whose limits a request falls, what was used of those, and how long its tokens take to come back."""


class Granted(msgspec.Struct, eq=False, gc=False):
    """What a request holds. Only the machine changes it."""

    demand: Demand
    scopes: Sequence[Scope]
    holds: Sequence[Hold]
    now_us: int  # when it came
    in_line: bool = True
    open: bool = True

    @property
    def left(self) -> dict[str, Left]:
        """What was left of each minute's kind when the request had come, of the scope with the least."""
        now_us, requests, tokens = self.now_us, None, None
        for _, scope, _, _, requests_us, tokens_us, _ in self.holds:
            if (limit := scope.minute_requests) is not None:
                left = left_of(limit, requests_us - now_us)
                if requests is None or left.remaining < requests.remaining:
                    requests = left
            if (limit := scope.minute_tokens) is not None:
                left = left_of(limit, tokens_us - now_us)
                if tokens is None or left.remaining < tokens.remaining:
                    tokens = left
        if requests is not None and tokens is not None:
            return {REQUESTS_PER_MINUTE: requests, TOKENS_PER_MINUTE: tokens}
        if requests is not None:
            return {REQUESTS_PER_MINUTE: requests}
        return {} if tokens is None else {TOKENS_PER_MINUTE: tokens}


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
        now_us, period = now_ms * US_PER_MS, period_of_day(now_s // DAY_S)
        if len(scopes) == 1:  # as nearly always, and nearly always all is at hand
            scope = scopes[0]
            account = self._account(scope.key, period)
            tokens_us = account.at_hand(scope, demand, now_us)
            if tokens_us is not None:
                if not account.taken:
                    self._accounts[scope.key] = account
                return Granted(demand, scopes, (account.book(scope, demand, tokens_us, now_us),), now_us)
        asked: Asked = []
        wait_ms, all_at_hand = 0, True
        for scope in scopes:
            account = self._account(scope.key, period)
            tokens_us = account.at_hand(scope, demand, now_us)
            asked.append((scope, account, tokens_us or 0))
            if tokens_us is None:
                all_at_hand = False
        if not all_at_hand:
            asked = [(scope, account, scope.tokens_us(demand[0])) for scope, account, _ in asked]
            verdict = _used_up(asked, demand, now_s) or _wait_ms(asked, demand, now_ms, deadline_ms)
            if isinstance(verdict, Denied):
                return verdict
            wait_ms = verdict
        granted = Granted(demand, scopes, self._book(asked, demand, now_us), now_us)
        return WaitUntil(granted, now_ms + wait_ms) if wait_ms else granted

    def _account(self, key: Key, period: Period) -> Account:
        """As it is now; one that is not known yet is not kept until something is taken."""
        account = self._accounts.get(key) or Account()
        if account.budgets.period is not period:
            account.budgets.turn_to(period)
        return account

    def _book(self, asked: Asked, demand: Demand, now_us: int) -> list[Hold]:
        holds = []
        for scope, account, tokens_us in asked:
            if not account.taken:
                self._accounts[scope.key] = account
            holds.append(account.book(scope, demand, tokens_us, now_us))
        return holds

    def seated(self, granted: Granted) -> None:
        """The request left the line for a backend."""
        if granted.in_line:
            granted.in_line = False
            for hold in granted.holds:
                hold[0].queued -= 1

    def requeued(self, granted: Granted) -> None:
        """The engine was busy: the request stands in line again. It is not asked for room twice."""
        if not granted.in_line:
            granted.in_line = True
            for hold in granted.holds:
                hold[0].queued += 1

    def settle(self, granted: Granted, used: Demand, now_ms: int) -> None:
        """Replace the estimate by what it was, in the minute and period of the reservation.

        What it was too much is owed from now on: the request may have run
        for longer than the minute in which it was booked. ``now_ms`` says
        nothing else, so it need not be right where there is no such thing.
        """
        if not granted.open:
            return
        granted.open = False
        if granted.in_line:
            self.seated(granted)
        (tokens, spend), (asked, asked_spend) = used, granted.demand
        more, more_spend = tokens - asked, spend - asked_spend
        for account, scope, place, tokens_us, _, _, period in granted.holds:
            if more and (limit := scope.minute_tokens):
                more_us = (tokens * MINUTE_US // limit or 1) - tokens_us
                if more_us < 0:
                    account.tokens.give_back(place, -more_us)
                elif more_us > 0:
                    account.owe(more_us, now_ms * US_PER_MS)
            del account.places[place]
            if more or more_spend:
                account.budgets.add(more, more_spend, period)

    def give_back(self, granted: Granted) -> None:
        """The request did not run, or its engine did nothing: all returns."""
        if not granted.open:
            return
        granted.open = False
        if granted.in_line:
            self.seated(granted)
        tokens, spend = granted.demand
        for account, scope, place, tokens_us, _, _, period in granted.holds:
            if scope.request_us:
                account.requests.give_back(place, scope.request_us)
            if tokens_us:
                account.tokens.give_back(place, tokens_us)
            del account.places[place]
            account.budgets.add(-tokens, -spend, period)

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
        return account.budgets.used(kind, period_at(now_s)) if account else 0


def _used_up(asked: Asked, demand: Demand, now_s: int) -> Denied | None:
    """The first limit that no wait within minutes helps against."""
    for scope, account, _ in asked:
        if denied := account.used_up(scope, demand, now_s):
            return denied
    return None


def _wait_ms(asked: Asked, demand: Demand, now_ms: int, deadline_ms: int | None) -> int | Denied:
    """How long until every minute's quota has room, or the one that refuses."""
    refused: Denied | None = None
    longest_ms, now_us = 0, now_ms * US_PER_MS
    for scope, account, _ in asked:
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
