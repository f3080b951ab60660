"""How long it takes to read usage when there are many records.

    python -m benchmarks.usage_records --rows 10000000

Fills a throwaway PostgreSQL with a month of records, and times what the
console, the control API and a starting gateway ask of it. Prints one JSON
line: milliseconds, the best of several; last, for comparison, the month summed
up from single records.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import django

if __name__ == "__main__":  # before anything that reads a model
    FOLDER = Path(tempfile.mkdtemp(prefix="fl-bench-", dir="/tmp"))  # a unix socket's path must be short
    for name in ("DATABASE_URL", "REDIS_URL"):
        os.environ.pop(name, None)  # a benchmark must never meet somebody's real data
    os.environ |= {"FAIRLANE_DATA_DIR": str(FOLDER), "DJANGO_SETTINGS_MODULE": "config.settings"}
    django.setup()

from django.core.management import call_command
from django.db import connection

from config import postgres
from gateway.retention import tend
from gateway.selectors import Span, records, usage
from gateway.totals import fold
from gateway.used import used
from scheduling.core.quota import Scope

ROWS = 200_000
TENANTS, MODELS, API_TOKENS = 50, 4, 2
DAYS = 30
REPEATS = 3
PAGE = 50

# A few tenants send most of it, as they do. Records lie in the order in which they ended, as they are stored.
FILL = """
INSERT INTO gateway_usagerecord (
    accepted_at, request_id, client_request_id, queued_at, dispatched_at, first_token_at, ended_at, tenant,
    user_hash, api_token_id, model, pool, backend, priority_class, endpoint, stream, prompt_tokens,
    cached_tokens, completion_tokens, estimated_tokens, estimated, outcome, status, attempt, policy_revision,
    cost, spend
)
SELECT at, 'req_' || md5(n::text), '', at, at + wait, at + 2 * wait, at + 5 * wait,
    'tenant-' || tenant, md5((n %% 5000)::text), tenant * 10 + n %% %(api_tokens)s,
    'model-' || n %% %(models)s, 'main', 'gpu-' || n %% 4, 'standard', '/v1/chat/completions', n %% 2 = 0,
    800, 100, 200, 1300, false, CASE WHEN n %% 50 = 0 THEN 'client_gone_streaming' ELSE 'ok' END, 200, 1, 7,
    1200, 90
FROM (
    SELECT n, %(since)s::timestamptz + n * (%(span)s::interval / %(rows)s) AS at,
        random() * interval '10 s' AS wait, floor(%(tenants)s * random() ^ 3)::int AS tenant
    FROM generate_series(0, %(rows)s - 1) AS n
) AS made
"""
SUM_UP = """
INSERT INTO gateway_usagearrival (at, tenant, model, api_token_id, requests, ok_requests, prompt_tokens,
    cached_tokens, completion_tokens, counted_tokens, cost, spend)
SELECT date_trunc('hour', accepted_at, 'UTC'), tenant, model, api_token_id, count(*),
    count(*) FILTER (WHERE outcome = 'ok'), sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens),
    sum(prompt_tokens + completion_tokens), sum(cost), sum(spend)
FROM gateway_usagerecord GROUP BY 1, 2, 3, 4
"""


def main() -> None:
    """Fill, ask, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=ROWS)
    rows = options.parse_args().rows
    try:
        server = postgres.start(FOLDER, durable=False)
        try:
            print(json.dumps(measure(rows)))
        finally:
            postgres.stop(server)
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)


def measure(rows: int) -> dict[str, object]:
    """The figures of one database with so many records."""
    call_command("migrate", verbosity=0, interactive=False)
    now = datetime.now(UTC)
    since = now - timedelta(days=DAYS)
    values = {"since": since, "span": timedelta(days=DAYS), "rows": rows}
    values |= {"tenants": TENANTS, "models": MODELS, "api_tokens": API_TOKENS}
    began = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute(FILL, values)
    filled_s = time.perf_counter() - began
    tend(now, 0)  # the month before this one gets its partition
    with connection.cursor() as cursor:
        cursor.execute(SUM_UP)
    began = time.perf_counter()
    arrivals = fold()
    folded_s = time.perf_counter() - began
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    found = {name: best_ms(ask) for name, ask in questions(now).items()}
    return {
        "benchmark": "usage_records",
        "rows": rows,
        "filled_s": round(filled_s, 1),
        "hours_folded": arrivals,
        "folded_s": round(folded_s, 2),
        "ms": found,
    }


def questions(now: datetime) -> dict[str, Callable[[], object]]:
    """What is asked of usage, by whom."""
    soon, tenant = now + timedelta(minutes=1), "tenant-0"
    day, month = (now - timedelta(days=days) for days in (1, DAYS))
    limits = {"tokens_per_day": 1, "tokens_per_month": 1, "tokens_per_minute": 1}
    scopes = [Scope(("tenant", f"tenant-{n}"), limits) for n in range(TENANTS)]
    pages = list(records(Span(month, soon))[: PAGE * 400 : PAGE * 399])

    def from_single_records() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT tenant, model, count(*), sum(prompt_tokens), sum(cost) FROM gateway_usagerecord "
                "WHERE accepted_at >= %s GROUP BY 1, 2",
                [month],
            )

    return {
        "a tenant's page: its day by model": lambda: usage(Span(day, soon, tenant), by=("model",)),
        "API: the day by tenant and model": lambda: usage(Span(day, soon)),
        "API: the day by hour": lambda: usage(Span(day, soon), by=("tenant",), bucket="hour"),
        "API: the month by tenant and model": lambda: usage(Span(month, soon)),
        "API: the month by day": lambda: usage(Span(month, soon), bucket="day"),
        "API: a tenant's month by hour": lambda: usage(Span(month, soon, tenant), by=(), bucket="hour"),
        "API: the first page of records": lambda: list(records(Span(month, soon))[:PAGE]),
        "API: the 400th page": lambda: list(records(Span(month, soon)).filter(pk__lt=pages[-1].pk)[:PAGE]),
        "API: a tenant's records": lambda: list(records(Span(month, soon, tenant))[:PAGE]),
        "API: the last failed ones": lambda: list(records(Span(month, soon), "upstream_5xx")[:PAGE]),
        "the first page: was there any": lambda: records(Span(month, soon)).exists(),
        "a start: what all tenants used of their budgets": lambda: used(scopes, now),
        "for comparison: the month from single records": from_single_records,
    }


def best_ms(ask: Callable[[], object]) -> float:
    """The best of several, in milliseconds."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        ask()
        times.append((time.perf_counter() - began) * 1000)
    return round(min(times), 1)


if __name__ == "__main__":
    main()
