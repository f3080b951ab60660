"""What the control API gives."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone
from ninja import Schema
from pydantic import Field

from gateway.hold import MEANING, WrittenHold, written_hold
from gateway.models import ApiToken
from scheduling.models import Alias, Backend, Change, Pool, ServedModel, Tenant
from scheduling.quotas import Written
from scheduling.services import fallbacks_of, model_quotas_of, prices_of, quotas_of, reversible, targets_of

Quotas = dict[str, int | dict[str, int | str]]
"""A limit, or ``{limit, when_exhausted: refuse}``, by kind."""


class TenantOut(Schema):
    """A tenant."""

    slug: str
    name: str
    weight: int
    priority_class: str
    quotas: Quotas
    model_quotas: dict[str, Quotas]
    suspended: bool
    paused: bool
    boost: int = Field(description="How many times the weight counts now; 1 without a boost.")
    boost_until: datetime | None = Field(description="When the last boost ends, or ended.")
    created_at: datetime

    @staticmethod
    def resolve_priority_class(row: Tenant) -> str:
        """Its class's name."""
        return row.priority_class.name

    @staticmethod
    def resolve_quotas(row: Tenant) -> dict[str, Written]:
        """Its limits by kind."""
        return quotas_of(row)

    @staticmethod
    def resolve_model_quotas(row: Tenant) -> dict[str, dict[str, Written]]:
        """Its limits for single models, by model and kind."""
        return model_quotas_of(row)

    @staticmethod
    def resolve_suspended(row: Tenant) -> bool:
        """Whether its new requests are refused."""
        return row.state == Tenant.State.SUSPENDED

    @staticmethod
    def resolve_paused(row: Tenant) -> bool:
        """Whether its requests stay queued."""
        return row.state == Tenant.State.PAUSED

    @staticmethod
    def resolve_boost(row: Tenant) -> int:
        """The boost in force."""
        return row.boost if row.boost_until and timezone.now() < row.boost_until else 1


class TokenOut(Schema):
    """An API token, without its secret."""

    id: int
    name: str
    tenant: str | None
    admin: str | None
    shown: str = Field(description="The beginning and end of the secret, to tell tokens apart.")
    scopes: list[str]
    class_ceiling: str | None
    quotas: Quotas
    models: list[str] = Field(alias="allowed_models", description="What it may ask for; empty: everything.")
    hold_status_s: WrittenHold = Field(description=MEANING)
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    @staticmethod
    def resolve_tenant(row: ApiToken) -> str | None:
        """Its tenant's slug."""
        return row.tenant.slug if row.tenant else None

    @staticmethod
    def resolve_admin(row: ApiToken) -> str | None:
        """Its admin's name."""
        return row.admin.username if row.admin else None

    @staticmethod
    def resolve_shown(row: ApiToken) -> str:
        """How people recognise it."""
        return str(row)

    @staticmethod
    def resolve_class_ceiling(row: ApiToken) -> str | None:
        """The best class it may use."""
        return row.class_ceiling.name if row.class_ceiling else None

    @staticmethod
    def resolve_hold_status_s(row: ApiToken) -> WrittenHold:
        """How long its waiting streams get no status line."""
        return written_hold(row.hold_status_s)


class IssuedTokenOut(Schema):
    """A new API token and its secret, which is shown only now."""

    token: TokenOut
    secret: str


class PoolOut(Schema):
    """A pool and what is in it."""

    name: str
    models: list[str]
    backends: list[str]

    @staticmethod
    def resolve_models(row: Pool) -> list[str]:
        """The models it serves."""
        return [model.name for model in row.models.all()]

    @staticmethod
    def resolve_backends(row: Pool) -> list[str]:
        """The backends in it."""
        return [backend.name for backend in row.backends.all()]


class ModelOut(Schema):
    """A served model and its pool."""

    name: str
    pool: str
    prices: dict[str, int]
    fallbacks: list[str]
    created_at: datetime

    @staticmethod
    def resolve_pool(row: ServedModel) -> str:
        """Its pool's name."""
        return row.pool.name

    @staticmethod
    def resolve_prices(row: ServedModel) -> dict[str, int]:
        """What its tokens cost, without what is free."""
        return prices_of(row)

    @staticmethod
    def resolve_fallbacks(row: ServedModel) -> list[str]:
        """The models that take over while no backend can serve it."""
        return fallbacks_of(row)


class AliasOut(Schema):
    """A name that stands for served models; weights are shares of its requests."""

    name: str
    targets: dict[str, int]
    fallbacks: list[str]
    created_at: datetime

    @staticmethod
    def resolve_targets(row: Alias) -> dict[str, int]:
        """Served models and their weights."""
        return targets_of(row)

    @staticmethod
    def resolve_fallbacks(row: Alias) -> list[str]:
        """The models that take over while no backend can serve the target."""
        return fallbacks_of(row)


class BackendOut(Schema):
    """A backend. Its API key is never given out."""

    name: str
    pool: str
    url: str
    engine: str
    models: list[str]
    max_in_flight: int | None
    kv_tokens: int | None
    poll_every_ms: int | None
    priority_order: str
    draining: bool
    has_api_key: bool
    ca_pem: str
    created_at: datetime

    @staticmethod
    def resolve_pool(row: Backend) -> str:
        """Its pool's name."""
        return row.pool.name

    @staticmethod
    def resolve_models(row: Backend) -> list[str]:
        """The models it lists; empty: all of its pool."""
        return [model.name for model in row.served_models.all()]

    @staticmethod
    def resolve_draining(row: Backend) -> bool:
        """Whether it gets no new requests."""
        return row.state == Backend.State.DRAINING

    @staticmethod
    def resolve_has_api_key(row: Backend) -> bool:
        """Whether an engine's API key is stored."""
        return bool(row.api_key_encrypted)


class ReadingOut(Schema):
    """One point of a backend's history."""

    id: int
    at: datetime
    running: int | None
    waiting: int | None
    kv_usage: float | None
    window: int
    cap: int
    reason: str
    error: str


class ClassOut(Schema):
    """A class; rank 0 goes first."""

    name: str
    rank: int
    reserved_seats: int
    lent_seats: int
    max_wait_s: int | None


class PolicyOut(Schema):
    """How a pool shares and admits."""

    pool: str
    fairness: str
    admission: str
    window_requests: int
    engine_queue_target_requests: int
    tpot_target_ms: int | None
    stale: str
    counts_sent: bool
    kv_fill_percent: int
    prefix_slack_requests: int | None
    engine_priority: str
    paused: bool
    prompt_weight: int
    completion_weight: int
    cached_discount_percent: int

    @staticmethod
    def resolve_pool(row: Any) -> str:
        """Its pool's name."""
        return str(row.pool)


class ChangeOut(Schema):
    """One edit."""

    id: int
    at: datetime
    revision: int
    by: str
    verb: str
    noun: str
    target: str
    field: str
    before: Any
    after: Any
    why: str
    undone_by: int | None
    reversible: bool

    @staticmethod
    def resolve_undone_by(row: Change) -> int | None:
        """The change that took it back."""
        return row.undone_by_id

    @staticmethod
    def resolve_reversible(row: Change) -> bool:
        """Whether it is of a kind that can be undone."""
        return reversible(row)
