"""``GET /v1/limits``: what the caller may use, and how much of it is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from gateway.callers import Caller
from gateway.classes import choose_class, classes_for
from gateway.errors import NotFound
from gateway.hold import written_hold
from gateway.ledger import Ledger
from gateway.records import Record
from gateway.settings import Settings
from gateway.steering import seconds
from gateway.visit import Visit
from scheduling.core.account import next_period_s
from scheduling.core.policy import BUDGET_KINDS, MINUTE_KINDS, QUEUED, QUOTA_KINDS
from scheduling.core.quota import Scope


async def answer(visit: Visit) -> None:
    """The quotas of the tenant, of its models and of the API token; classes; and bounds of the gateway."""
    if visit.rest:
        raise NotFound
    visit.read_only()
    visit.gateway.own.status_rate.ask(visit.caller.token_id)
    visit.asked()
    ledger, caller, policy = visit.gateway.own.ledger, visit.caller, visit.policy
    scopes = await ledger.all_scopes(visit.tenant, caller)
    records = visit.gateway.books.going.of(caller.tenant)
    body = {
        "object": "limits",
        "tenant": caller.tenant,
        "quotas": [quota for scope in scopes for quota in _quotas(ledger, scope, records)],
        "classes": classes_for(caller, policy),
        "default_class": choose_class(None, {}, caller, policy),
        "class_ceiling": caller.class_ceiling or None,
        **_bounds(visit.gateway.settings, caller),
    }
    await visit.say(msgspec.json.encode(body))


def _quotas(ledger: Ledger, scope: Scope, records: Iterable[Record]) -> Iterator[dict[str, Any]]:
    """Each limit of one holder. ``reset_s``: until all of it is back, as far as that is a matter of time."""
    holder, model = scope.key[0], scope.key[2] if scope.key[0] == "model" else None
    for kind in QUOTA_KINDS:
        limit = scope.limits.get(kind)
        if limit is None:
            continue
        used, reset_ms = _standing(ledger, scope, kind, records)
        shown = {
            "of": "tenant" if model else holder,
            "model": model,
            "kind": kind,
            "limit": limit,
            "used": used,
            "remaining": max(0, limit - used),
            "reset_s": seconds(reset_ms),
        }
        if kind in MINUTE_KINDS:
            shown["when_exhausted"] = "refuse" if kind in scope.refusing else "wait"
        yield shown


def _standing(ledger: Ledger, scope: Scope, kind: str, records: Iterable[Record]) -> tuple[int, int | None]:
    """What is used of a limit, held estimates included, and in how many milliseconds that is over."""
    quotas, now_s = ledger.quotas, ledger.now_s()
    if kind in MINUTE_KINDS:
        left = quotas.left(scope, kind, ledger.now_ms())
        return (left.limit - left.remaining, left.reset_ms) if left else (0, None)
    if kind in BUDGET_KINDS:
        return quotas.used(scope.key, kind, now_s), next_period_s(kind, now_s) * 1000
    if kind == QUEUED:
        return quotas.queued(scope.key), None
    return _in_flight(scope, records), None


def _in_flight(scope: Scope, records: Iterable[Record]) -> int:
    """Seats held: such a limit holds in each pool, so those of the pool that has the most."""
    pools: Counter[str] = Counter()
    for record in records:
        mine = {
            "tenant": True,
            "model": record.model == scope.key[-1],
            "api_token": str(record.api_token_id) == scope.key[-1],
        }[scope.key[0]]
        if mine and record.dispatched_at is not None:
            pools[record.pool] += 1
    return max(pools.values(), default=0)


def _bounds(settings: Settings, caller: Caller) -> dict[str, Any]:
    """What the knobs say, and of the time that an API token may have of its own, what that says."""
    hold_s = settings.hold_status_s if caller.hold_s is None else caller.hold_s
    return {
        "max_body_bytes": settings.body_bytes,
        "queue_timeout_s": settings.queue_timeout_s,
        "hold_status_s": written_hold(hold_s),
        "comment_every_s": settings.comment_every_s,
        "slow_client_s": settings.slow_client_s,
        "status_per_s": settings.status_per_s,
        "retries": {"ratio": settings.retry_ratio, "floor_per_minute": settings.retry_floor},
        "idempotency_s": settings.idempotency_s,
    }
