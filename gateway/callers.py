"""Who is calling, as the data plane knows it: an immutable table, swapped whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of an API token for inference."""

    token_id: int
    tenant: str  # slug
    token_name: str
    class_ceiling: str = ""  # the best class this API token may use; empty: any
    expires_at_s: float | None = None  # Unix time
    scopes: frozenset[str] = frozenset({"inference"})
    quotas: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))  # its own, by kind
    models: frozenset[str] = frozenset()  # the models and aliases it may ask for; empty: all
    refusing: frozenset[str] = frozenset()  # the minute's kinds of them that do not let requests wait
    hold_s: float | None = None  # for how long its status lines are held back; None: as the knob says


@dataclass(frozen=True, slots=True)
class CallerTable:
    """API tokens in force, by the SHA-256 digest of their secret."""

    revision: int = 0
    by_digest: Mapping[bytes, Caller] = field(default_factory=lambda: MappingProxyType({}))
