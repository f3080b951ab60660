"""What the usage records say was used of quotas: the open minute, day and month, in one query."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Case, Count, F, Q, Sum, Value, When
from django.db.models.functions import Coalesce

from gateway.bygone import has_budget
from gateway.models import UsageRecord
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


def used(scopes: Sequence[Scope], now: datetime) -> dict[Key, Mapping[str, int]]:
    """By holder and kind, what was used in the last minute and in the open day and month (UTC).

    A request belongs to the day in which it was accepted, and to the minute
    in which it was dispatched, because a waiting one is booked for that. One
    whose cost is 0 gave everything back. The month is read only when one of
    these has a budget.
    """
    minute, day = now - MINUTE, now.replace(hour=0, minute=0, second=0, microsecond=0)
    month = day.replace(day=1)
    since = min(minute, month) if any(map(has_budget, scopes)) else minute
    sums: dict[Key, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in _rows(scopes, since, _kinds(minute, day, month)):
        for key in _keys(row):
            for kind, amount in row.items():
                if kind not in ("tenant", "model", "api_token_id"):
                    sums[key][kind] += amount
    return {scope.key: dict(sums[scope.key]) for scope in scopes if scope.key in sums}


def _kinds(minute: datetime, day: datetime, month: datetime) -> dict[str, Any]:
    lately = Q(ran_at__gte=minute)
    return {
        REQUESTS_PER_MINUTE: Count("pk", filter=lately),
        TOKENS_PER_MINUTE: _sum(TOKENS, lately),
        TOKENS_PER_DAY: _sum(TOKENS, Q(accepted_at__gte=day)),
        TOKENS_PER_MONTH: _sum(TOKENS, Q(accepted_at__gte=month)),
        SPEND_PER_MONTH: _sum(F("spend"), Q(accepted_at__gte=month)),
    }


def _sum(amount: Any, which: Q) -> Any:
    return Coalesce(Sum(amount, filter=which), Value(0))


def _rows(scopes: Sequence[Scope], since: datetime, kinds: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    tenants = {scope.key[1] for scope in scopes if scope.key[0] != "api_token"}
    api_tokens = {int(scope.key[1]) for scope in scopes if scope.key[0] == "api_token"}
    return (
        UsageRecord.objects.filter(Q(tenant__in=tenants) | Q(api_token_id__in=api_tokens))
        .filter(Q(cost__gt=0) | LOST, ended_at__gte=since)
        .annotate(ran_at=Coalesce("dispatched_at", "ended_at"))
        .order_by()
        .values("tenant", "model", "api_token_id")
        .annotate(**kinds)
    )


def _keys(row: Mapping[str, Any]) -> Iterator[Key]:
    yield ("tenant", row["tenant"])
    yield ("model", row["tenant"], row["model"])
    if row["api_token_id"] is not None:
        yield ("api_token", str(row["api_token_id"]))
