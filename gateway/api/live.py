"""Queues as they are now, and usage."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import AwareDatetime, ConfigDict, Field

from gateway import selectors
from gateway.api.paging import Page, PageQuery, page
from gateway.api.problems import answers
from gateway.pictures import PoolPicture
from gateway.selectors import Span, UsageSum
from gateway.snapshots import read_picture_sync
from scheduling.services import Missing

queues = Router(tags=["queues"])
usage = Router(tags=["usage"])

DEFAULT_SPAN = timedelta(days=1)
PAST_NOW = timedelta(minutes=1)  # a span without an end has one that no clock has reached
MOST_BUCKETS = 2000
YEARS = range(1970, 9000)  # nearer to the ends of the calendar, a day less or an hour more is no time at all
BUCKET_S = {"minute": 60, "hour": 3600, "day": 86400}


class QueuesOut(Schema):
    """Every pool's queue at one moment, over all gateways."""

    at_s: float = Field(description="Unix time of the oldest part; 0 when no gateway answered yet.")
    revision: int
    gateways: int
    alone: int = Field(description="Gateways that hear no controller and read the engines themselves.")
    pools: list[PoolPicture]


class SpanQuery(Schema):
    """Which usage: requests that were accepted from ``since`` (a day ago) until before ``until`` (now)."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    tenant: str = ""
    model: str = ""


class UsageQuery(SpanQuery):
    """How to sum."""

    by: list[Literal["tenant", "model"]] = Field(["tenant", "model"])
    bucket: Literal["", "minute", "hour", "day"] = ""


class UsageOut(Schema):
    """Sums over a span."""

    since: datetime
    until: datetime
    items: list[UsageSum]


class RecordQuery(SpanQuery, PageQuery):
    """Which records."""

    outcome: str = ""
    request_id: str = Field(
        "", max_length=128, description="Our id of one request, or what its client calls it."
    )


class RecordOut(Schema):
    """How one request went."""

    request_id: str
    client_request_id: str
    tenant: str
    model: str
    pool: str
    backend: str
    priority_class: str
    endpoint: str
    stream: bool
    outcome: str
    status: int
    attempt: int
    accepted_at: datetime
    dispatched_at: datetime | None
    first_token_at: datetime | None
    ended_at: datetime
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    estimated: bool
    cost: int
    spend: int


@queues.get("", response=answers(QueuesOut))
def read_queues(request: HttpRequest) -> object:
    """Every pool's queue now. The first call after a pause may find no gateway yet: ask again."""
    return read_picture_sync()


@queues.get("/{pool}", response=answers(PoolPicture))
def read_queue(request: HttpRequest, pool: str) -> object:
    """One pool's queue now."""
    picture = read_picture_sync().pool(pool)
    if picture is None:
        raise Missing(f"No gateway shows a queue of pool {pool!r} now.")
    return picture


@usage.get("", response=answers(UsageOut))
def read_usage(request: HttpRequest, query: Query[UsageQuery]) -> object:
    """Requests and tokens summed by tenant and model, and by time with ``bucket``."""
    span = _span(query)
    if query.bucket and (span.until - span.since).total_seconds() > MOST_BUCKETS * BUCKET_S[query.bucket]:
        raise ValidationError(
            {"bucket": f"More than {MOST_BUCKETS} of them. Use a longer one or a shorter span."}
        )
    return {
        "since": span.since,
        "until": query.until or timezone.now(),
        "items": selectors.usage(span, by=query.by, bucket=query.bucket),
    }


@usage.get("/records", response=answers(Page[RecordOut]))
def list_records(request: HttpRequest, query: Query[RecordQuery]) -> object:
    """Single requests, the last accepted first."""
    return page(selectors.records(_span(query), query.outcome, query.request_id), query, "-pk")


def _span(query: SpanQuery) -> Span:
    now = timezone.now()
    for field, at in (("since", query.since), ("until", query.until)):
        if at and at.year not in YEARS:
            raise ValidationError({field: f"Give a year from {YEARS.start} to {YEARS.stop - 1}."})
    until = query.until or now + PAST_NOW
    since = query.since or (query.until or now) - DEFAULT_SPAN
    if since >= until:
        raise ValidationError({"since": "This is not before until. Swap them."})
    return Span(since, until, query.tenant, query.model)
