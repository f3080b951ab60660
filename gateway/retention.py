"""The months that usage records are cut into: made ahead, and dropped when nobody may keep them any more.

A month is the unit because months are what is billed, and 14 of them are few
to plan a query over. What belongs to no month yet (a clock was wrong, or
nobody tended the table for a season) is kept in the rest, and moves into its
month as soon as that is made.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction

from gateway.models import UsageHour, UsageRecord

TABLE = "gateway_usagerecord"
REST = f"{TABLE}_rest"
MONTH = re.compile(rf"{TABLE}_(\d{{4}})_(\d\d)")
MONTHS_AHEAD = 3  # nobody needs to look after the table for a quarter
LOCK_PATIENCE = (
    "5s"  # a change of the table waits no longer for a long query, because records would wait behind it
)

log = logging.getLogger(__name__)


def tend(now: datetime, keep_days: int) -> None:
    """Make the months to come, and drop all records accepted more than ``keep_days`` ago; 0 keeps them.

    Sums by hour go with their records, sums by day stay.
    """
    made = months()
    wanted = [month_after(now, n) for n in range(MONTHS_AHEAD + 1)]
    for month in sorted({*wanted, *_months_in_rest()} - set(made)):
        make(month)
        log.info("usage records of %s have a partition of their own", f"{month:%Y-%m}")
    if keep_days:
        forget(now - timedelta(days=keep_days))


def forget(before: datetime) -> None:
    """Drop the months that ended before then, and delete what is older in the month that holds it."""
    for month in months():
        if month_after(month, 1) <= before:
            _change(f"DROP TABLE {_name(month)}")
            log.info("usage records of %s are dropped: they are older than they may be", f"{month:%Y-%m}")
    UsageRecord.objects.filter(accepted_at__lt=before)._raw_delete("default")  # noqa: SLF001 - no row is loaded
    UsageHour.objects.filter(at__lt=before - timedelta(hours=1))._raw_delete("default")  # noqa: SLF001


def months() -> list[datetime]:
    """The first instants of the months that have a partition, in order."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", [TABLE]
        )
        found = [MONTH.fullmatch(name) for (name,) in cursor.fetchall()]
    return sorted(datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC) for match in found if match)


def make(month: datetime) -> None:
    """Give a month its partition, and take out of the rest what belongs to it."""
    name, until = _name(month), month_after(month, 1)
    _change(
        # Nobody may add to the rest while its rows move; who stores records waits for an instant.
        f"LOCK TABLE {REST} IN ACCESS EXCLUSIVE MODE",
        f"CREATE TABLE {name} (LIKE {TABLE} INCLUDING ALL)",
        f"WITH moved AS (DELETE FROM {REST} WHERE accepted_at >= '{month.isoformat()}' "  # noqa: S608 - ours
        f"AND accepted_at < '{until.isoformat()}' RETURNING *) INSERT INTO {name} SELECT * FROM moved",
        f"ALTER TABLE {TABLE} ATTACH PARTITION {name} "
        f"FOR VALUES FROM ('{month.isoformat()}') TO ('{until.isoformat()}')",
    )


def month_after(moment: datetime, count: int) -> datetime:
    """The first instant of the month ``count`` months after the moment's own (UTC)."""
    moment = moment.astimezone(UTC)
    years, month = divmod(moment.year * 12 + moment.month - 1 + count, 12)
    return datetime(years, month + 1, 1, tzinfo=UTC)


def _months_in_rest() -> list[datetime]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT date_trunc('month', accepted_at, 'UTC') FROM {REST}")  # noqa: S608
        return [month_after(moment, 0) for (moment,) in cursor.fetchall()]


def _name(month: datetime) -> str:
    return f"{TABLE}_{month:%Y_%m}"


def _change(*statements: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_PATIENCE}'")
        for statement in statements:
            cursor.execute(statement)
