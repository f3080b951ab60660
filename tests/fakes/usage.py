"""Usage records as the gateway leaves them."""

from __future__ import annotations

from datetime import datetime

from gateway.models import UsageRecord


def used(request_id: str, tenant: str, model: str, ended_at: datetime, **more) -> UsageRecord:
    """A record of one request, not saved: 10 prompt tokens, 5 completion tokens, and it went well."""
    fields = {
        "accepted_at": ended_at,
        "priority_class": "standard",
        "endpoint": "chat",
        "stream": False,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cost": 20,
        "outcome": "ok",
        "status": 200,
    }
    return UsageRecord(request_id=request_id, tenant=tenant, model=model, ended_at=ended_at, **fields | more)
