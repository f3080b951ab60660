"""What a tenant may ask about: the models there are, and its own place in the queue."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gateway.callers import Caller
from gateway.errors import ModelNotFound
from scheduling.core.policy import Policy
from scheduling.core.view import PoolView


def models(policy: Policy, caller: Caller) -> bytes:
    """``GET /v1/models``: every name the caller may ask for, models and aliases, in order."""
    data = [_model(name) for name in sorted(_names(policy, caller))]
    return msgspec.json.encode({"object": "list", "data": data})


def model(policy: Policy, caller: Caller, name: str) -> bytes:
    """``GET /v1/models/{id}``. Raises ModelNotFound."""
    if name not in _names(policy, caller):
        raise ModelNotFound(param="model")
    return msgspec.json.encode(_model(name))


def queue(views: Iterable[PoolView], tenant: str) -> bytes:
    """``GET /v1/queue``: the tenant's own line in every pool where it has one, and nobody else's."""
    pools = [
        {
            "pool": view.pool,
            "queued_requests": mine.queued,
            "in_flight_requests": mine.in_flight,
            "oldest_wait_ms": mine.oldest_wait_ms,
        }
        for view in views
        for mine in view.tenants
        if mine.tenant == tenant
    ]
    return msgspec.json.encode({"object": "queue", "pools": pools})


def _names(policy: Policy, caller: Caller) -> set[str]:
    names = {*policy.models, *policy.routes}
    return names & caller.models if caller.models else names


def _model(name: str) -> dict[str, str | int]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "fairlane"}
