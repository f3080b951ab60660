"""What a request takes of those whose limits it falls under: of each its part, or of none anything."""

from __future__ import annotations

from typing import overload

from scheduling.core.account import Account, Scope
from scheduling.core.allowance import MINUTE_US
from scheduling.core.budget import Period

Hold = tuple[Account, Scope, int, int, int, int, Period]
"""What a request holds of an account, never changed: by whose rules, its place, and its tokens' part of
the minute; when requests and tokens were whole again with it; and the day and month of its budgets."""

Holds = tuple[Hold, ...]

UNKNOWN = Account()
"""Stands for one that is not known yet: as no period is open in it, nothing is ever taken of it."""


class Holder:
    """A scope and its account, found once for many requests; and the holder that comes ``next``.

    The accounts are those of different keys. Only the machine changes them.
    """

    __slots__ = ("_next", "account", "scope")

    def __init__(self, scope: Scope, account: Account, following: Holder | None) -> None:
        self.scope = scope
        self.account = account
        self._next = following

    @overload
    def take(self, tokens: int, spend: int, now_us: int, until_us: None, now_s: float) -> Holds: ...

    @overload
    def take(
        self, tokens: int, spend: int, now_us: int, until_us: int | None, now_s: float
    ) -> Holds | None: ...

    def take(self, tokens: int, spend: int, now_us: int, until_us: int | None, now_s: float) -> Holds | None:
        """What the request holds of this one and of all that follow; None, and nothing, if one has no room.

        What it takes of a minute must have come back by ``until_us``. None:
        it was weighed, and takes all whether or not there is room.
        """
        account, scope = self.account, self.scope
        requests, kept, budgets = account.requests, account.tokens, account.budgets
        day_tokens, month_spend = budgets.day_tokens + tokens, budgets.month_spend + spend
        tokens_us = tokens * MINUTE_US // scope.token_rate or 1
        if until_us is not None and (
            now_s >= budgets.ends_s
            or account.queued >= scope.room_in_line
            or day_tokens > scope.day_tokens
            or budgets.before_today + day_tokens > scope.month_tokens
            or month_spend > scope.month_spend
            or requests.whole_at_us + scope.request_us > until_us
            or kept.whole_at_us + tokens_us > until_us
        ):
            return None
        others: Holds | None = ()
        if self._next is not None:
            others = self._next.take(tokens, spend, now_us, until_us, now_s)
            if others is None:
                return None
        account.queued += 1
        account.taken = place = account.taken + 1
        account.places[place] = None
        if scope.request_us:
            requests.take(place, scope.request_us, now_us)
        if scope.minute_tokens:
            kept.take(place, tokens_us, now_us)
        budgets.day_tokens, budgets.month_spend = day_tokens, month_spend
        hold = account, scope, place, tokens_us, requests.whole_at_us, kept.whole_at_us, budgets.period
        return (hold, *others) if others else (hold,)
