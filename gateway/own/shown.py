"""How a request looks to its owner, as JSON."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from gateway.records import Record
from gateway.steering import seconds
from scheduling.core.view import Explanation
from scheduling.dispatchers.base import Dispatcher

# The console's codes. Its texts name backends and count other tenants' requests: no affair of a tenant's.
TEXTS = {
    "held": "an admin holds the request",
    "pool_paused": "the pool is paused",
    "tenant_paused": "the tenant is paused",
    "quota": "the next allowance of your own quota is still to come",
    "api_token_in_flight": "your API token has as many requests going as it may",
    "tenant_in_flight": "your tenant has as many requests in flight as it may",
    "model_in_flight": "your tenant has as many requests for this model in flight as it may",
    "backend_draining": "backends drain",
    "backend_circuit": "backends could not be reached",
    "backend_left_alone": "backends said that they are full",
    "backend_full": "backends have as many requests in flight as they may",
    "backend_reserved": "the free seats of backends are reserved for better classes",
    "backend_slow_start": "backends have just come back and take a few requests at a time",
    "backend_grant": "backends have as many requests waiting as they should, until they are read again",
    "backend_kv": "backends do not have the memory that this request may need",
    "backend_window": "backends still owe as many first tokens as they may",
    "backends_kept": "the backends are kept for a request whose turn it is and which waits for memory",
    "moved_to_front": "an admin moved the request before all others",
    "better_class": "requests of better classes wait",
    "share": "it is other tenants' turn first",
    "own_line": "your tenant has other requests in line too",
}


def going(dispatcher: Dispatcher, record: Record, told: Explanation | None = None) -> dict[str, Any]:
    """A request that waits or runs. Without ``told`` a waiting one has its place only."""
    shown = _head(record, "queued" if record.dispatched_at is None else "running")
    if record.dispatched_at is None:
        place = dispatcher.position(record.request_id)
        shown["queue"] = {"position": place} if told is None else explained(told)
    return shown


def explained(told: Explanation) -> dict[str, Any]:
    """Why it waits, what holds it back most first: a reason that several backends give is told once."""
    now_ms = int(monotonic() * 1000)  # the dispatcher's clock
    often = Counter(reason.code for reason in told.reasons)
    reasons = []
    for reason in told.reasons:
        if not (count := often.pop(reason.code, 0)):
            continue
        shown: dict[str, Any] = {"code": reason.code, "text": TEXTS[reason.code]}
        if reason.code.startswith("backend_"):
            shown["backends"] = count
        elif reason.until_ms is not None:
            shown["until_s"] = seconds(max(0, reason.until_ms - now_ms))
        reasons.append(shown)
    return {
        "position": told.position,
        "wait_s": seconds(told.wait_ms),
        "error_s": seconds(told.error_ms),
        "reasons": reasons,
    }


def ended(record: Record) -> dict[str, Any]:
    """A request with its outcome: what it used, and when."""
    return {
        **_head(record, "ended"),
        "outcome": record.outcome,
        "status": record.status,
        "ended_at": _time(record.ended_at),
        "usage": {
            "prompt_tokens": record.prompt_tokens,
            "cached_tokens": record.cached_tokens,
            "completion_tokens": record.completion_tokens,
            "estimated": record.estimated,
            "cost_tokens": record.cost,
            "spend": record.spend,
        },
    }


def _head(record: Record, state: str) -> dict[str, Any]:
    return {
        "object": "request",
        "id": record.request_id,
        "client_request_id": record.client_request_id or None,
        "state": state,
        "model": record.model,
        "class": record.priority_class,
        "endpoint": record.endpoint,
        "stream": record.stream,
        "attempt": record.attempt,
        "accepted_at": _time(record.accepted_at),
        "dispatched_at": _time(record.dispatched_at),
        "first_token_at": _time(record.first_token_at),
    }


def _time(at_s: float | None) -> str | None:
    """ISO 8601 in UTC, to the millisecond."""
    return None if at_s is None else datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")
