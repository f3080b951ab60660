"""Usage by hour and day is the sum of the records, at every moment and however late a record comes."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from gateway import usage as gateway_usage
from gateway.models import UsageArrival, UsageDay, UsageHour, UsageRecord
from gateway.records import store
from gateway.totals import fold
from gateway.usage import Span, usage
from gateway.used import used as used_of
from scheduling.core.quota import Scope
from tests.fakes.usage import save, used

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ALL = (("tenant", "model"), "")


def a_month(rng: random.Random, count: int = 400):
    outcomes = ["ok", "ok", "ok", "connect_fail", "worker_lost"]
    for number in range(count):
        at = NOON - timedelta(days=20) + rng.random() * timedelta(days=24)
        outcome = rng.choice(outcomes)
        tokens = (
            {"prompt_tokens": rng.randrange(90), "cost": rng.randrange(200)}
            if outcome == "ok"
            else {"cost": 0}
        )
        yield used(
            f"r{number}", rng.choice(["chat", "shop"]), rng.choice(["m", "n"]), at, outcome=outcome,
            api_token_id=rng.choice([None, 1, 2]), estimated_tokens=70, spend=rng.randrange(9), **tokens,
        )  # fmt: skip


def asked(rng: random.Random):
    """Spans with ends of every kind: on a day, on an hour, anywhere."""
    ends = []
    while len(ends) < 2 or ends[0] >= ends[1]:
        at = NOON - timedelta(days=22) + rng.random() * timedelta(days=28)
        whole = {"minute": 0, "second": 0, "microsecond": 0}
        ends = [*ends[-1:], at.replace(**rng.choice([{}, whole, whole | {"hour": 0}]))]
    by = rng.choice([(), ("tenant",), ("model",), ("tenant", "model")])
    return (
        Span(*ends, tenant=rng.choice(["", "chat"]), model=rng.choice(["", "n"])),
        by,
        rng.choice(["", "hour", "day"]),
    )


@pytest.mark.django_db
@pytest.mark.parametrize("folds", [False, True])
def test_sums_over_any_span_are_those_of_the_single_records(monkeypatch, folds) -> None:
    rng = random.Random(11)
    records = list(a_month(rng))
    save(*records[:300])
    if folds:
        fold()
    save(*records[200:])  # a part of them comes again, and a part only now
    questions = [asked(rng) for _ in range(60)]
    found = [usage(span, by=by, bucket=bucket) for span, by, bucket in questions]

    def only_records(span, bucket):
        yield gateway_usage._Part(UsageRecord, span.since, span.until)

    monkeypatch.setattr(gateway_usage, "_parts", only_records)
    for (span, by, bucket), sums in zip(questions, found, strict=True):
        assert sums == usage(span, by=by, bucket=bucket), (span, by, bucket)
    assert any(sums and sums[0].requests > 9 for sums in found)


@pytest.mark.django_db
def test_folding_twice_counts_nothing_twice() -> None:
    save(used("a", "chat", "m", NOON), used("b", "chat", "m", NOON + HOUR))
    assert fold() == 2
    save(used("b", "chat", "m", NOON + HOUR), used("late", "chat", "m", NOON))
    assert [fold(), fold()] == [1, 0]
    assert list(UsageHour.objects.order_by("at").values_list("at", "requests")) == [
        (NOON, 2),
        (NOON + HOUR, 1),
    ]
    assert list(UsageDay.objects.values_list("at", "requests")) == [(NOON.replace(hour=0), 3)]


@pytest.mark.django_db
def test_the_open_hour_is_read_from_the_totals_and_has_what_was_stored_just_now() -> None:
    now = datetime.now(UTC)
    save(used("a", "chat", "m", now))
    span = Span(now.replace(minute=0, second=0, microsecond=0) - DAY, now + HOUR)
    assert UsageRecord not in [
        part.rows for part in gateway_usage._parts(span, "") if part.since < part.until
    ]
    assert usage(span, by=())[0].requests == 1


@pytest.mark.django_db
def test_budgets_count_what_is_folded_and_what_is_not() -> None:
    scope = Scope(("tenant", "chat"), {"tokens_per_month": 9})
    save(used("a", "chat", "m", NOON - DAY))
    fold()
    save(
        used("b", "chat", "m", NOON),
        used("lost", "chat", "m", NOON, outcome="worker_lost", estimated_tokens=70),
    )
    found = used_of([scope], NOON)[scope.key]
    assert (found["tokens_per_day"], found["tokens_per_month"]) == (85, 100)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_while_gateways_store_and_two_workers_fold_nothing_is_lost_or_counted_twice() -> None:
    records = [used(f"r{n}", "chat", "m", NOON + n * timedelta(minutes=7)) for n in range(300)]

    def work(number: int) -> None:
        try:
            if number % 3:
                fold()
            else:
                store(records[number * 10 : number * 10 + 30])
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(30)))
    fold()
    assert not UsageArrival.objects.exists()
    stored = UsageRecord.objects.count()
    assert sum(UsageHour.objects.values_list("requests", flat=True)) == stored
    assert sum(UsageDay.objects.values_list("requests", flat=True)) == stored
    assert stored == 300
