"""What a tenant may ask about: the models there are."""

from __future__ import annotations

import msgspec

from gateway.errors import ModelNotFound
from scheduling.core.policy import Policy


def models(policy: Policy) -> bytes:
    """``GET /v1/models``: every name a request may ask for, models and aliases, in order."""
    data = [_model(name) for name in sorted({*policy.models, *policy.routes})]
    return msgspec.json.encode({"object": "list", "data": data})


def model(policy: Policy, name: str) -> bytes:
    """``GET /v1/models/{id}``. Raises ModelNotFound."""
    if name not in policy.models and name not in policy.routes:
        raise ModelNotFound(param="model")
    return msgspec.json.encode(_model(name))


def _model(name: str) -> dict[str, str | int]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "fairlane"}
