"""What a request takes of those whose limits it falls under: of each its part, or of none anything."""

from __future__ import annotations

from typing import overload

import msgspec

from scheduling.core.account import US_PER_MS, Account, Demand, Left, Scope
from scheduling.core.allowance import MINUTE_US
from scheduling.core.budget import Period
from scheduling.core.policy import MINUTE_KINDS

Told = tuple[int, int, int]
"""The members of ``Left``: limit, remaining, and the time to its reset in milliseconds."""

UNKNOWN = Account()
"""Stands for one that is not known yet: as no period is open in it, nothing is ever taken of it."""


class Granted(msgspec.Struct, eq=False, gc=False):
    """What a request holds, until ``settle`` or ``give_back``; a second end changes nothing.

    It is what it holds of one account, and the ``others`` that it holds too.
    """

    account: Account
    scope: Scope  # by whose rules
    demand: Demand
    place: int
    tokens_us: int  # the part of the minute for tokens
    requests_whole_us: int  # how long after its coming all requests of the minute were back
    tokens_whole_us: int
    period: Period  # the day and month of the budgets
    others: Granted | None
    not_before_ms: int | None = None  # its allowance is booked, and comes then; None: it is here
    in_line: bool = True
    open: bool = True

    @property
    def left(self) -> dict[str, Left]:
        """``least``, by kind."""
        least = zip(MINUTE_KINDS, self.least(), strict=True)
        return {kind: Left(*told) for kind, told in least if told is not None}

    def least(self) -> tuple[Told | None, Told | None]:
        """What was left of requests and of tokens when this one had come, of the scope with the least."""
        scope, requests, tokens = self.scope, None, None
        if (limit := scope.minute_requests) is not None:
            left_us = self.requests_whole_us
            left = (MINUTE_US - left_us) * limit // MINUTE_US if left_us < MINUTE_US else 0
            requests = limit, left, -(-left_us // US_PER_MS)
        if (limit := scope.minute_tokens) is not None:
            left_us = self.tokens_whole_us
            left = (MINUTE_US - left_us) * limit // MINUTE_US if left_us < MINUTE_US else 0
            tokens = limit, left, -(-left_us // US_PER_MS)
        if self.others is None:
            return requests, tokens
        other_requests, other_tokens = self.others.least()
        return _less(requests, other_requests), _less(tokens, other_tokens)

    def seated(self, now_ms: int) -> None:
        """The request left the line for a backend."""
        if self.in_line:
            self.in_line = False
            self.account.queued -= 1
            if self.scope.most_queued is not None:
                (self.account.pace or self.account.paced()).seated(now_ms)
            if self.others is not None:
                self.others.seated(now_ms)

    def requeued(self) -> None:
        """The engine was busy: the request stands in line again. It is not asked for room twice."""
        if self.open and not self.in_line:
            self.in_line = True
            self.account.queued += 1
            if self.others is not None:
                self.others.requeued()

    def settle(self, used: Demand, now_ms: int) -> None:
        """Replace the estimate by what it was, in the minute and period of the reservation.

        What it was too much is owed from now on: the request may have run
        for longer than the minute in which it was booked. ``now_ms`` says
        nothing else, so it need not be right where there is no such thing.
        """
        if not self.open:
            return
        self.open = False
        account, place = self.account, self.place
        if self.in_line:
            account.queued -= 1
        (tokens, spend), (asked, asked_spend) = used, self.demand
        if limit := self.scope.minute_tokens:
            more_us = (tokens * MINUTE_US // limit or 1) - self.tokens_us
            if more_us < 0:
                account.tokens.give_back(place, -more_us)
            elif more_us > 0:
                account.owe(more_us, now_ms * US_PER_MS)
        del account.places[place]
        budgets = account.budgets
        if budgets.period is self.period:  # as nearly always
            budgets.day_tokens += tokens - asked
            budgets.month_spend += spend - asked_spend
        else:
            budgets.add(tokens - asked, spend - asked_spend, self.period)
        if self.others is not None:
            self.others.settle(used, now_ms)

    def give_back(self) -> None:
        """The request did not run, or its engine did nothing: all returns."""
        if not self.open:
            return
        self.open = False
        account, scope, place = self.account, self.scope, self.place
        if self.in_line:
            account.queued -= 1
        if scope.request_us:
            account.requests.give_back(place, scope.request_us)
        if scope.minute_tokens:
            account.tokens.give_back(place, self.tokens_us)
        del account.places[place]
        tokens, spend = self.demand
        account.budgets.add(-tokens, -spend, self.period)
        if self.others is not None:
            self.others.give_back()


NOTHING = Granted(UNKNOWN, Scope((), {}), (0, 0), 0, 0, 0, 0, (0, 0), None, in_line=False, open=False)
"""What a request holds that falls under no limits. All of these share it, as nothing changes it."""


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
    def take(self, demand: Demand, now_us: int, until_us: None, now_s: float) -> Granted: ...

    @overload
    def take(self, demand: Demand, now_us: int, until_us: int | None, now_s: float) -> Granted | None: ...

    def take(self, demand: Demand, now_us: int, until_us: int | None, now_s: float) -> Granted | None:
        """What the request holds of this one and of all that follow; None, and nothing, if one has no room.

        What it takes of a minute must have come back by ``until_us``. None:
        it was weighed, and takes all whether or not there is room.
        """
        tokens, spend = demand
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
        others = None
        if self._next is not None:
            others = self._next.take(demand, now_us, until_us, now_s)
            if others is None:
                return None
        account.queued += 1
        account.taken = place = account.taken + 1
        account.places[place] = None
        budgets.day_tokens, budgets.month_spend = day_tokens, month_spend
        return Granted(  # in the order of its members: named, they cost six times as much
            account, scope, demand, place, tokens_us,
            requests.take(place, scope.request_us, now_us) if scope.request_us else 0,
            kept.take(place, tokens_us, now_us) if scope.minute_tokens else 0,
            budgets.period, others,
        )  # fmt: skip


def _less(one: Told | None, other: Told | None) -> Told | None:
    """The one of which less is left."""
    if one is None or other is None:
        return one or other
    return other if other[1] < one[1] else one
