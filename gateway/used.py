"""What the usage records say was used of quotas: the open minute, day and month."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Case, Count, F, Model, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Coalesce

from gateway.bygone import has_budget
from gateway.models import DailyUsage, UsageRecord
from scheduling.core.outcome import Outcome
from scheduling.core.policy import (
    REQUESTS_PER_MINUTE,
    SPEND_PER_MONTH,
    TOKENS_PER_DAY,
    TOKENS_PER_MINUTE,
    TOKENS_PER_MONTH,
)
from scheduling.core.quota import Key, Scope

MINUTE = timedelta(minutes=1)
LOST = Q(outcome=Outcome.WORKER_LOST)
# A request that was lost with its gateway may have run: it counts with its estimate, which is no smaller.
TOKENS = Case(When(LOST, then=F("estimated_tokens")), default=F("prompt_tokens") + F("completion_tokens"))
HOLDER = ("tenant", "model", "api_token_id")


def used(scopes: Sequence[Scope], now: datetime) -> dict[Key, Mapping[str, int]]:
    """By holder and kind, what was used in the last minute and in the open day and month (UTC).

    A request belongs to the day in which it was accepted, and to the minute
    in which it was dispatched, because a waiting one is booked for that. One
    whose cost is 0 gave everything back. The minute is read from the records,
    day and month from the totals, and those only when one of these has a
    budget.
    """
    rows = list(_of_minute(scopes, now - MINUTE))
    if any(map(has_budget, scopes)):
        rows += _of_days(scopes, now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0))
    sums: dict[Key, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        for key in _keys(row):
            for kind, amount in row.items():
                if kind not in HOLDER:
                    sums[key][kind] += amount
    return {scope.key: dict(sums[scope.key]) for scope in scopes if scope.key in sums}


def _of_minute(scopes: Sequence[Scope], minute: datetime) -> QuerySet[Any, dict[str, Any]]:
    rows: QuerySet[Any, dict[str, Any]] = (
        _of(scopes, UsageRecord)
        .filter(Q(cost__gt=0) | LOST, ended_at__gte=minute)
        .annotate(ran_at=Coalesce("dispatched_at", "ended_at"))
        .filter(ran_at__gte=minute)
        .values(*HOLDER)
        .annotate(**{REQUESTS_PER_MINUTE: Count("*"), TOKENS_PER_MINUTE: Sum(TOKENS)})
    )
    return rows


def _of_days(scopes: Sequence[Scope], day: datetime) -> QuerySet[Any, dict[str, Any]]:
    rows: QuerySet[Any, dict[str, Any]] = (
        _of(scopes, DailyUsage)
        .filter(at__gte=day.replace(day=1))
        .values(*HOLDER)
        .annotate(
            **{
                TOKENS_PER_DAY: Coalesce(Sum("counted_tokens", filter=Q(at__gte=day)), Value(0)),
                TOKENS_PER_MONTH: Sum("counted_tokens"),
                SPEND_PER_MONTH: Sum("spend"),
            }
        )
    )
    return rows


def _of(scopes: Sequence[Scope], rows: type[Model]) -> QuerySet[Any]:
    tenants = {scope.key[1] for scope in scopes if scope.key[0] != "api_token"}
    api_tokens = {int(scope.key[1]) for scope in scopes if scope.key[0] == "api_token"}
    theirs = Q(tenant__in=tenants) | Q(api_token_id__in=api_tokens)
    return rows._default_manager.filter(theirs).order_by()  # noqa: SLF001 - Django's public name for it


def _keys(row: Mapping[str, Any]) -> Iterator[Key]:
    yield ("tenant", row["tenant"])
    yield ("model", row["tenant"], row["model"])
    if row["api_token_id"]:
        yield ("api_token", str(row["api_token_id"]))
