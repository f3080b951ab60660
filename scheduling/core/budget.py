"""Budgets of UTC calendar days and months: what was used of them, and when the next begins.

Pure integer arithmetic on Unix seconds: no calendar library, so that any
other implementation can agree exactly. The calendar is the proleptic
Gregorian one, counted in years from March on (the method of H. Hinnant,
"chrono-Compatible Low-Level Date Algorithms").
"""

from __future__ import annotations

from functools import lru_cache

from scheduling.core.policy import TOKENS_PER_DAY, TOKENS_PER_MONTH

DAY_S = 86_400
DAYS_TO_EPOCH = 719_468  # from 1 March of year 0 to 1 January 1970
DAYS_PER_ERA = 146_097  # 400 Gregorian years

Period = tuple[int, int]
"""The numbers of a day and of its month."""


def day_of(now_s: int) -> int:
    """The day's number since 1970, UTC."""
    return now_s // DAY_S


def month_of(now_s: int) -> int:
    """The month's number since year 0, UTC: 12 x year + month - 1."""
    return period_of_day(now_s // DAY_S)[1]


@lru_cache(maxsize=8)
def period_of_day(day_of_epoch: int) -> Period:
    """The day and its month. The same object for as long as the day is asked for."""
    # Years that begin in March have their leap day at the end; eras of 400 of them are all alike.
    era, day = divmod(day_of_epoch + DAYS_TO_EPOCH, DAYS_PER_ERA)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day_of_year = day - (365 * year + year // 4 - year // 100)
    march_based = (5 * day_of_year + 2) // 153  # 153 days are five months from March on, and so again
    return day_of_epoch, 12 * (400 * era + year) + march_based + 2


def month_begins_s(month: int) -> int:
    """The first second of a month by its number."""
    years, march_based = divmod(month - 2, 12)
    era, year = divmod(years, 400)
    day = 365 * year + year // 4 - year // 100 + (153 * march_based + 2) // 5
    return (era * DAYS_PER_ERA + day - DAYS_TO_EPOCH) * DAY_S


class Budgets:
    """How much of one day's and one month's budgets is used, held estimates included."""

    __slots__ = ("before_today", "day_tokens", "ends_s", "month_spend", "period")

    def __init__(self) -> None:
        self.period: Period = (0, 0)
        self.ends_s = 0  # the day, in Unix time
        self.before_today = self.day_tokens = self.month_spend = 0

    @property
    def month_tokens(self) -> int:
        """Those of the day, and those of the same month before it."""
        return self.before_today + self.day_tokens

    def turn_to(self, period: Period) -> None:
        """This is the day and month that count, unless later ones had begun before the clock went back."""
        day, month = self.period
        if period[0] > day:
            self.before_today += self.day_tokens
            self.day_tokens = 0
            if period[1] > month:
                self.before_today = self.month_spend = 0
            self.period = period
            self.ends_s = (period[0] + 1) * DAY_S

    def add(self, tokens: int, spend: int, period: Period) -> None:
        """Use so much more, or, below zero, so much less, of the day and month in which it was reserved.

        What belongs to one that has passed changes nothing: nobody asks for
        it any more.
        """
        own = self.period
        if period[1] == own[1]:
            self.month_spend += spend
            if period[0] == own[0]:
                self.day_tokens += tokens
            else:
                self.before_today += tokens

    def used(self, kind: str, period: Period) -> int:
        """What is used by then of a kind's budget: nothing of a day or month that had not begun."""
        day, month = self.period
        if kind == TOKENS_PER_DAY:
            return self.day_tokens if day >= period[0] else 0
        if month < period[1]:
            return 0
        return self.month_tokens if kind == TOKENS_PER_MONTH else self.month_spend

    def seed(self, kind: str, amount: int) -> None:
        """So much at least was used of the day or month that counts."""
        if kind == TOKENS_PER_DAY:
            more = max(0, amount - self.day_tokens)
            self.day_tokens += more
            self.before_today -= more  # what the month is known to have used stays as it is
        elif kind == TOKENS_PER_MONTH:
            self.before_today += max(0, amount - self.month_tokens)
        else:
            self.month_spend = max(self.month_spend, amount)
