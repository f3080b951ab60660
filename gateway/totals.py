"""Usage summed by hour and day: the sums that arrive with records, and how they become hours and days.

A record's part of the totals is written down in the transaction that stores
it (``gateway/records.py``), so a record that comes twice counts once, and one
that comes days late counts in its own hour. ``fold`` moves those arrivals
into the hours and days; whoever reads both has the exact sum at any moment.
"""

from __future__ import annotations

from django.db import connection, transaction

KEY = ("at", "tenant", "model", "api_token_id")
SUMS = (
    "requests",
    "ok_requests",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "counted_tokens",
    "cost",
    "spend",
)
FOLD_ROWS = 50_000  # arrivals in one transaction, about a second's work
LOCK = 0x7573616765  # advisory, of whoever folds; "usage"

_COLUMNS = ", ".join(KEY + SUMS)


def _added_to(table: str, at: str) -> str:
    sums = ", ".join(f"sum({name})" for name in SUMS)
    grown = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in SUMS)
    return (
        f"INSERT INTO {table} ({_COLUMNS}) SELECT {at}, {', '.join(KEY[1:])}, {sums} FROM folded "  # noqa: S608
        f"GROUP BY 1, 2, 3, 4 ON CONFLICT ({', '.join(KEY)}) DO UPDATE SET {grown}"
    )


_FOLD = f"""
WITH folded AS (
    DELETE FROM gateway_usagearrival
    WHERE id IN (SELECT id FROM gateway_usagearrival ORDER BY id LIMIT {FOLD_ROWS}) RETURNING *
), hours AS ({_added_to("gateway_usagehour", "at")}),
days AS ({_added_to("gateway_usageday", "date_trunc('day', at, 'UTC')")})
SELECT count(*) FROM folded
"""  # noqa: S608 - constants


def fold() -> int:
    """Add all arrivals to their hours and days; how many there were.

    One at a time: a second caller waits for the first, and then finds
    nothing. Killed at any instant, it has added an arrival or left it.
    """
    done = 0
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            cursor.execute(_FOLD)
            count = int(cursor.fetchone()[0])
        done += count
        if count < FOLD_ROWS:
            return done
