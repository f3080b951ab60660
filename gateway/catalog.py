"""What a tenant may ask about: the models there are."""

from __future__ import annotations

import msgspec

from gateway.callers import Caller
from gateway.errors import ModelNotFound
from scheduling.core.policy import Policy


def models(policy: Policy, caller: Caller) -> bytes:
    """``GET /v1/models``: every name the caller may ask for, models and aliases, in order."""
    data = [_model(name) for name in sorted(_names(policy, caller))]
    return msgspec.json.encode({"object": "list", "data": data})


def model(policy: Policy, caller: Caller, name: str) -> bytes:
    """``GET /v1/models/{id}``. Raises ModelNotFound."""
    if name not in _names(policy, caller):
        raise ModelNotFound(param="model")
    return msgspec.json.encode(_model(name))


def _names(policy: Policy, caller: Caller) -> set[str]:
    names = {*policy.models, *policy.routes}
    return names & caller.models if caller.models else names


def _model(name: str) -> dict[str, str | int]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "fairlane"}
