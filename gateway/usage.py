"""Usage over a span of time: from the days and hours inside it, and single records at its ragged ends."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Aggregate, Count, F, Model, Q, QuerySet, Sum
from django.db.models.functions import TruncDay, TruncHour, TruncMinute
from django.utils import timezone

from gateway.headers import made_at
from gateway.models import DailyUsage, HourlyUsage, UsageRecord
from scheduling.core.outcome import Outcome

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# From a request's first byte, when it gets its id, to its acceptance.
CLOCK_STEP, LONGEST_BODY = timedelta(seconds=5), timedelta(minutes=5)
# What a span may be asked for: behind it there is no next hour, and before it nothing was ever served.
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
BUCKETS = {"minute": TruncMinute, "hour": TruncHour, "day": TruncDay}
IS_BUCKETS = {("hour", HourlyUsage), ("day", DailyUsage)}  # nothing to cut there


@dataclass(frozen=True, slots=True)
class Span:
    """Which usage is meant: requests that were accepted from ``since`` until before ``until``."""

    since: datetime
    until: datetime
    tenant: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class UsageSum:
    """Usage of one tenant, model and time, as far as the sum was asked by them."""

    requests: int
    ok_requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost: int  # cost tokens charged
    spend: int  # micro-units of money
    tenant: str = ""
    model: str = ""
    at: datetime | None = None  # the beginning of the minute, hour or day


AMOUNTS = tuple(field.name for field in fields(UsageSum) if field.type == "int")
_OF_TOTALS: dict[str, Aggregate] = {f"sum_{name}": Sum(name, default=0) for name in AMOUNTS}
_OF_RECORDS: dict[str, Aggregate] = _OF_TOTALS | {
    "sum_requests": Count("*"),
    "sum_ok_requests": Count("request_id", filter=Q(outcome=Outcome.OK)),
}


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a span, and the table that tells it."""

    rows: type[Model]
    since: datetime
    until: datetime


def usage(span: Span, *, by: Collection[str] = ("tenant", "model"), bucket: str = "") -> list[UsageSum]:
    """Usage summed by any of "tenant" and "model", and by "minute", "hour" or "day".

    Exact to the last stored record. A span of which the single records are
    dropped already is told by whole days.
    """
    groups = [name for name in ("tenant", "model") if name in by] + (["at"] if bucket else [])
    found: dict[tuple[Any, ...], list[int]] = {}
    for part in _parts(span, bucket):
        for row in _sums(part, span, groups, bucket):
            amounts = [row[f"sum_{name}"] for name in AMOUNTS]
            key = tuple(row[name] for name in groups)
            found[key] = [a + b for a, b in zip(found.get(key, [0] * len(amounts)), amounts, strict=True)]
    if not groups:
        found.setdefault((), [0] * len(AMOUNTS))
    names = (*AMOUNTS, *groups)
    return [UsageSum(**dict(zip(names, (*found[key], *key), strict=True))) for key in sorted(found)]


def records(span: Span, outcome: str = "", request_id: str = "") -> QuerySet[UsageRecord]:
    """Usage records, the last accepted first. ``request_id`` is our own or the client's."""
    rows = _within(UsageRecord.objects.order_by("-accepted_at", "-request_id"), "accepted_at", span)
    if request_id:
        rows = rows.filter(Q(request_id=request_id) | Q(client_request_id=request_id))
    return rows.filter(outcome=outcome) if outcome else rows


def record_of(request_id: str, tenant: str) -> UsageRecord | None:
    """A tenant's record by our id of the request, or the latest of a day that its client calls so."""
    rows = UsageRecord.objects.filter(tenant=tenant).order_by("-accepted_at")
    if (made_s := made_at(request_id)) is not None:
        made = datetime.fromtimestamp(made_s, UTC)
        return rows.filter(_between(made - CLOCK_STEP, made + LONGEST_BODY), request_id=request_id).first()
    since = timezone.now() - DAY
    return rows.filter(accepted_at__gte=since, client_request_id=request_id).first()


def _between(since: datetime, until: datetime) -> Q:
    return Q(accepted_at__gte=since, accepted_at__lt=until)


def _parts(span: Span, bucket: str) -> Iterator[_Part]:
    since, until = span.since, span.until
    if until >= timezone.now():
        until = _up(until, HOUR)  # nothing is later than now, so the open hour is meant as a whole
    first, last = _up(since, HOUR), _down(until, HOUR)
    if bucket == "minute" or first >= last:
        yield _Part(UsageRecord, since, span.until)
        return
    yield _Part(UsageRecord, since, first)
    begin, end = _up(first, DAY), _down(last, DAY)
    if bucket == "hour" or begin >= end:
        yield _Part(HourlyUsage, first, last)
    else:
        yield _Part(HourlyUsage, first, begin)
        yield _Part(DailyUsage, begin, end)
        yield _Part(HourlyUsage, end, last)
    yield _Part(UsageRecord, last, until)


def _sums(part: _Part, span: Span, groups: list[str], bucket: str) -> list[Mapping[str, Any]]:
    if part.since >= part.until:
        return []
    single = part.rows is UsageRecord
    time, sums = ("accepted_at", _OF_RECORDS) if single else ("at", _OF_TOTALS)
    rows = _within(
        part.rows._default_manager.order_by(),  # noqa: SLF001 - Django's public name for it
        time,
        Span(part.since, part.until, span.tenant, span.model),
    )
    if not groups:
        return [rows.aggregate(**sums)]
    if bucket:
        rows = rows.annotate(bucket=F("at") if (bucket, part.rows) in IS_BUCKETS else BUCKETS[bucket](time))
    by = ["bucket" if name == "at" else name for name in groups]
    found = rows.values(*by).annotate(**sums)
    return [{"at": row.get("bucket"), **row} for row in found]


def _within(rows: QuerySet[Any], time: str, span: Span) -> QuerySet[Any]:
    rows = rows.filter(**{f"{time}__gte": span.since, f"{time}__lt": span.until})
    if span.tenant:
        rows = rows.filter(tenant=span.tenant)
    return rows.filter(model=span.model) if span.model else rows


def _down(moment: datetime, to: timedelta) -> datetime:
    """The beginning of the UTC hour or day."""
    hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return hour if to == HOUR else hour.replace(hour=0)


def _up(moment: datetime, to: timedelta) -> datetime:
    begin = _down(moment, to)
    return begin if begin == moment else begin + to
