"""A budget of one UTC calendar day or month: what was used of it, and when the next begins.

Pure integer arithmetic on Unix seconds: no calendar library, so that any
other implementation can agree exactly. The calendar is the proleptic
Gregorian one, counted in years from March on (the method of H. Hinnant,
"chrono-Compatible Low-Level Date Algorithms").
"""

from __future__ import annotations

from functools import lru_cache

DAY_S = 86_400
DAYS_TO_EPOCH = 719_468  # from 1 March of year 0 to 1 January 1970
DAYS_PER_ERA = 146_097  # 400 Gregorian years


def day_of(now_s: int) -> int:
    """The day's number since 1970, UTC."""
    return now_s // DAY_S


def month_of(now_s: int) -> int:
    """The month's number since year 0, UTC: 12 x year + month - 1."""
    return _month_of_day(now_s // DAY_S)


@lru_cache(maxsize=8)
def _month_of_day(day_of_epoch: int) -> int:
    # Years that begin in March have their leap day at the end; eras of 400 of them are all alike.
    era, day = divmod(day_of_epoch + DAYS_TO_EPOCH, DAYS_PER_ERA)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day_of_year = day - (365 * year + year // 4 - year // 100)
    march_based = (5 * day_of_year + 2) // 153  # 153 days are five months from March on, and so again
    return 12 * (400 * era + year) + march_based + 2


def month_begins_s(month: int) -> int:
    """The first second of a month by its number."""
    years, march_based = divmod(month - 2, 12)
    era, year = divmod(years, 400)
    day = 365 * year + year // 4 - year // 100 + (153 * march_based + 2) // 5
    return (era * DAYS_PER_ERA + day - DAYS_TO_EPOCH) * DAY_S


class Budget:
    """How much of one period's budget is used, held estimates included."""

    __slots__ = ("period", "used")

    def __init__(self) -> None:
        self.period = 0
        self.used = 0

    def turn_to(self, period: int) -> int:
        """The period that counts: this one, unless a later one had begun before the clock went back."""
        if period > self.period:
            self.period, self.used = period, 0
        return self.period

    def add(self, amount: int, period: int) -> None:
        """Use so much more, or, below zero, so much less, of the period in which it was reserved.

        What belongs to a period that has passed changes nothing: nobody asks
        for it any more.
        """
        if period == self.period:
            self.used += amount
