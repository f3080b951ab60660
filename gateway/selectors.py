"""Reads of API tokens, usage and records."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from django.db.models import Aggregate, Count, Q, QuerySet, Sum
from django.db.models.functions import TruncDay, TruncHour, TruncMinute
from django.utils import timezone

from gateway import tokens
from gateway.callers import Caller, CallerTable
from gateway.models import ApiToken, UsageRecord
from scheduling.core.outcome import Outcome
from scheduling.selectors import consistent_read, revision

CHUNK_ROWS = 2000

_SUMMED = ("prompt_tokens", "cached_tokens", "completion_tokens", "cost")
_SUMS: dict[str, Aggregate] = {
    "requests": Count("pk"),
    "ok_requests": Count("pk", filter=Q(outcome=Outcome.OK)),
    **{f"sum_{name}": Sum(name, default=0) for name in _SUMMED},
}

BUCKETS = {"minute": TruncMinute, "hour": TruncHour, "day": TruncDay}


@dataclass(frozen=True, slots=True)
class Span:
    """Which usage is meant: accepted requests that ended from ``since`` until before ``until``."""

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
    tenant: str = ""
    model: str = ""
    at: datetime | None = None  # the beginning of the minute, hour or day


@dataclass(frozen=True, slots=True)
class AdminCaller:
    """The owner of an API token for the control API."""

    token_id: int
    admin: str
    token_name: str
    scopes: frozenset[str]


def callers(previous: CallerTable | None = None) -> CallerTable:
    """API tokens for inference that are not revoked.

    A suspended tenant's are in it: the policy says that it is suspended, so
    the doorman can say so too. What did not change since ``previous`` is
    shared with it, so that swapping a large table frees almost nothing.
    """
    known = previous.by_digest if previous else {}
    table: dict[bytes, Caller] = {}
    with consistent_read():
        number = revision()
        for row in _caller_rows().iterator(chunk_size=CHUNK_ROWS):
            caller = Caller(
                token_id=row[1],
                tenant=row[2],
                token_name=row[3],
                class_ceiling=row[4] or "",
                expires_at_s=row[5].timestamp() if row[5] else None,
                scopes=frozenset(row[6]),
            )
            digest = bytes(row[0])
            old = known.get(digest)
            table[digest] = old if old == caller and old is not None else caller
    return CallerTable(number, MappingProxyType(table))


def admin_caller(secret: str) -> AdminCaller | None:
    """Who holds this API token for the control API. None: nobody, revoked, expired, or no active admin."""
    if not tokens.well_formed(secret):
        return None
    token = (
        ApiToken.objects.select_related("admin")
        .filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))
        .filter(digest=tokens.digest(secret), revoked_at=None, admin__is_active=True)
        .first()
    )
    if token is None or token.admin is None:
        return None
    return AdminCaller(token.pk, token.admin.username, token.name, frozenset(token.scopes))


def api_tokens(tenant: str = "") -> QuerySet[ApiToken]:
    """API tokens, newest first, with owner and class; all tenants' and admins' without a tenant."""
    rows = ApiToken.objects.select_related("tenant", "admin", "class_ceiling")
    return rows.filter(tenant__slug=tenant) if tenant else rows


def usage(span: Span, *, by: Collection[str] = ("tenant", "model"), bucket: str = "") -> list[UsageSum]:
    """Usage summed by any of "tenant" and "model", and by "minute", "hour" or "day"."""
    rows = _within(span).order_by()
    groups = [name for name in ("tenant", "model") if name in by]
    if bucket:
        rows = rows.annotate(at=BUCKETS[bucket]("ended_at"))
        groups.append("at")
    if not groups:
        return [_sum(rows.aggregate(**_SUMS))]
    return [_sum(row) for row in rows.values(*groups).annotate(**_SUMS).order_by(*groups)]


def records(span: Span, outcome: str = "") -> QuerySet[UsageRecord]:
    """Usage records, the last to end first."""
    rows = _within(span).order_by("-ended_at", "-id")
    return rows.filter(outcome=outcome) if outcome else rows


def _sum(row: Mapping[str, Any]) -> UsageSum:
    return UsageSum(**{name.removeprefix("sum_"): value for name, value in row.items()})


def _within(span: Span) -> QuerySet[UsageRecord]:
    rows = UsageRecord.objects.filter(ended_at__gte=span.since, ended_at__lt=span.until)
    if span.tenant:
        rows = rows.filter(tenant=span.tenant)
    if span.model:
        rows = rows.filter(model=span.model)
    return rows


def _caller_rows() -> QuerySet[ApiToken, tuple[Any, ...]]:
    return (
        ApiToken.objects.filter(revoked_at=None, tenant__isnull=False)
        .order_by()
        .values_list("digest", "id", "tenant__slug", "name", "class_ceiling__name", "expires_at", "scopes")
    )
