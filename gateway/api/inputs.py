"""What the control API takes. A field that is not named here is refused."""

from __future__ import annotations

from typing import Any, Literal

from ninja import Schema
from pydantic import AwareDatetime, ConfigDict, Field

from gateway.hold import MEANING, HoldField

NOT_WRITTEN: Any = None  # never read: only fields that the caller wrote are used, and null is refused


class Input(Schema):
    """A body. ``why`` goes to the audit."""

    model_config = ConfigDict(extra="forbid", strict=True)

    why: str = Field("", max_length=500, description="For the audit.")

    def given(self, *but: str) -> dict[str, Any]:
        """The fields that the caller wrote."""
        return self.dict(exclude_unset=True, exclude={"why", *but})


class QuotaIn(Schema):
    """A quota that may refuse instead of letting requests wait."""

    model_config = ConfigDict(extra="forbid", strict=True)

    limit: int
    when_exhausted: Literal["wait", "refuse"]


Quotas = dict[str, int | QuotaIn]
Changes = dict[str, int | QuotaIn | None]


class PricesIn(Schema):
    """Micro-units of money per million tokens of each kind; what is left out is free."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: int = 0
    cached: int = 0
    completion: int = 0


class TenantIn(Input):
    """A new tenant."""

    slug: str
    name: str = ""
    weight: int = 1
    priority_class: str = "standard"
    quotas: Quotas = {}
    model_quotas: dict[str, Quotas] = {}


class TenantChange(Input):
    """What to change about a tenant. A quota of null is removed; others stay, of models likewise."""

    name: str = Field(default=NOT_WRITTEN)
    weight: int = Field(default=NOT_WRITTEN)
    priority_class: str = Field(default=NOT_WRITTEN)
    quotas: Changes = Field(default=NOT_WRITTEN)
    model_quotas: dict[str, Changes] = Field(default=NOT_WRITTEN)
    suspended: bool = Field(default=NOT_WRITTEN)
    paused: bool = Field(default=NOT_WRITTEN)


class BoostIn(Input):
    """How many times a tenant's weight is to count, and for how long: at most a day."""

    factor: int
    minutes: int


class TokenIn(Input):
    """A new API token for inference."""

    tenant: str
    name: str
    class_ceiling: str | None = None
    quotas: Quotas = {}
    models: list[str] = []
    hold_status_s: HoldField = Field(None, description=MEANING)
    expires_at: AwareDatetime | None = Field(None, strict=False)


class PoolIn(Input):
    """A new pool."""

    name: str


class ModelIn(Input):
    """A new served model."""

    name: str
    pool: str
    prices: PricesIn = Field(default=NOT_WRITTEN)
    fallbacks: list[str] = []


class ModelChange(Input):
    """What to change about a model: where it is served, what its tokens cost, and who stands in for it."""

    pool: str = Field(default=NOT_WRITTEN)
    prices: PricesIn = Field(default=NOT_WRITTEN)
    fallbacks: list[str] = Field(default=NOT_WRITTEN)


class AliasIn(Input):
    """A new alias: served models with weights, and those that take over, in this order."""

    name: str
    targets: dict[str, int]
    fallbacks: list[str] = []


class AliasChange(Input):
    """What to change about an alias. Targets that are written replace all of its targets."""

    targets: dict[str, int] = Field(default=NOT_WRITTEN)
    fallbacks: list[str] = Field(default=NOT_WRITTEN)


class BackendIn(Input):
    """A new backend. No models: all of its pool. No max_in_flight or kv_tokens: as the engine says."""

    name: str
    pool: str
    url: str
    engine: str = "vllm"
    models: list[str] = []
    max_in_flight: int | None = None
    kv_tokens: int | None = None
    poll_every_ms: int | None = None
    priority_order: str = ""
    api_key: str = Field("", json_schema_extra={"writeOnly": True})
    ca_pem: str = ""


class BackendChange(Input):
    """What to change about a backend. An empty api_key removes it."""

    pool: str = Field(default=NOT_WRITTEN)
    url: str = Field(default=NOT_WRITTEN)
    engine: str = Field(default=NOT_WRITTEN)
    models: list[str] = Field(default=NOT_WRITTEN)
    max_in_flight: int | None = None
    kv_tokens: int | None = None
    poll_every_ms: int | None = None
    priority_order: str = Field(default=NOT_WRITTEN)
    api_key: str = Field(default=NOT_WRITTEN, json_schema_extra={"writeOnly": True})
    ca_pem: str = Field(default=NOT_WRITTEN)


class ClassChange(Input):
    """What to change about a class."""

    rank: int = Field(default=NOT_WRITTEN)
    reserved_seats: int = Field(default=NOT_WRITTEN)
    lent_seats: int = Field(default=NOT_WRITTEN)
    max_wait_s: int | None = None


class PolicyChange(Input):
    """What to change about a pool's policy."""

    fairness: str = Field(default=NOT_WRITTEN)
    admission: str = Field(default=NOT_WRITTEN)
    window_requests: int = Field(default=NOT_WRITTEN)
    engine_queue_target_requests: int = Field(default=NOT_WRITTEN)
    tpot_target_ms: int | None = None
    stale: str = Field(default=NOT_WRITTEN)
    counts_sent: bool = Field(default=NOT_WRITTEN)
    kv_fill_percent: int = Field(default=NOT_WRITTEN)
    prefix_slack_requests: int | None = None
    engine_priority: str = Field(default=NOT_WRITTEN)
    paused: bool = Field(default=NOT_WRITTEN)
    prompt_weight: int = Field(default=NOT_WRITTEN)
    completion_weight: int = Field(default=NOT_WRITTEN)
    cached_discount_percent: int = Field(default=NOT_WRITTEN)


class Why(Input):
    """Only a reason."""
