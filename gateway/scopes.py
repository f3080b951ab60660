"""What an API token may do."""

from __future__ import annotations

INFERENCE = "inference"
METRICS = "metrics"

_READ_AND_WRITE = ("tenants", "tokens", "models", "backends", "policies", "changes", "requests", "batches")
_READ_ONLY = ("queues", "usage")

ADMIN_SCOPES = (
    *(f"{resource}:{verb}" for resource in _READ_AND_WRITE for verb in ("read", "write")),
    *(f"{resource}:read" for resource in _READ_ONLY),
    METRICS,
)


def allows(scopes: frozenset[str], wanted: str) -> bool:
    """Whether the scopes allow what is wanted. Who may write a resource may read it."""
    resource, _, verb = wanted.partition(":")
    return wanted in scopes or (verb == "read" and f"{resource}:write" in scopes)
