"""Writes about pools, the models they serve, their policies, and the classes."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from django.core.exceptions import ValidationError

from scheduling.models import Backend, Pool, PriorityClass, SchedulingPolicy, ServedModel
from scheduling.services.edits import (
    Conflict,
    Stamp,
    find,
    record,
    referred,
    remove,
    save_new,
    set_fields,
    writing,
)
from scheduling.services.engine_order import refuse_engine_priority
from scheduling.services.routes import fallbacks_of, refuse_alias_name


class PolicyFields(TypedDict, total=False):
    """The fields of a pool's policy. Requests are counts per backend, weights cost tokens per token."""

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


class ClassFields(TypedDict, total=False):
    """The fields of a class. ``max_wait_s`` None: never promoted."""

    rank: int
    reserved_seats: int
    lent_seats: int
    max_wait_s: int | None


class Prices(TypedDict, total=False):
    """Micro-units of money per million tokens of each kind. What is not given costs nothing."""

    prompt: int
    cached: int
    completion: int


POLICY_FIELDS = tuple(PolicyFields.__annotations__)
CLASS_FIELDS = tuple(ClassFields.__annotations__)
PRICE_FIELDS = tuple(f"{kind}_price" for kind in Prices.__annotations__)


def create_pool(name: str, *, by: str, why: str = "") -> Pool:
    """Make a pool with the default policy."""
    with writing():
        pool = save_new(Pool(name=name))
        SchedulingPolicy.objects.create(pool=pool)
        record("pool", name, Stamp(by, why, "create"), after={"name": name})
    return pool


def delete_pool(name: str, *, by: str, why: str = "") -> None:
    """Remove an empty pool with its policy. Raises Conflict while backends or models are in it."""
    with writing():
        pool = find(Pool.objects, name=name)
        inside = [str(row) for row in (*pool.backends.all(), *pool.models.all())]
        if inside:
            raise Conflict(f"Pool {name} still holds {', '.join(inside)}. Move or delete them first.")
        remove(pool)
        record("pool", name, Stamp(by, why, "delete"), before={"name": name})


def create_model(
    name: str, pool: str, *, by: str, why: str = "", prices: Prices | None = None
) -> ServedModel:
    """Let clients ask for a model name, served by a pool at these prices. No alias may have it."""
    with writing():
        refuse_alias_name(name)
        fields = price_fields(prices or {})
        model = save_new(ServedModel(name=name, pool=referred("pool", Pool.objects, pool), **fields))
        record("model", name, Stamp(by, why, "create"), after=_model(model))
    return model


def set_prices(name: str, prices: Prices, *, by: str, why: str = "") -> ServedModel:
    """Change what a model's tokens cost, for requests that come from now on. What is left out is free."""
    return put_model(name, price_fields(prices), Stamp(by, why))


def move_model(name: str, pool: str, *, by: str, why: str = "") -> ServedModel:
    """Serve a model from another pool. Raises Conflict while a backend lists it."""
    with writing():
        model = find(ServedModel.objects, name=name)
        target = referred("pool", Pool.objects, pool)
        if target != model.pool:
            _refuse_if_listed(model)
        set_fields("model", model, {"pool": target}, Stamp(by, why))
    return model


def delete_model(name: str, *, by: str, why: str = "") -> None:
    """Stop serving a model name; tenants' quotas for it and its own fallbacks go too.

    Raises Conflict while a backend lists it, an alias sends requests to it,
    or it stands in for another model. A backend without listed models serves
    its whole pool, so taking its last one away in silence would widen that.
    """
    with writing():
        model = find(ServedModel.objects, name=name)
        _refuse_if_listed(model)
        before = _model(model)
        if lost := [str(quota) for quota in model.quotas.select_related("tenant")]:
            before["quotas"] = lost
        remove(model)
        record("model", name, Stamp(by, why, "delete"), before=before)


def set_policy(pool: str, *, by: str, why: str = "", **fields: Unpack[PolicyFields]) -> SchedulingPolicy:
    """Change how a pool shares and admits, from the next dispatch on."""
    return put_policy(pool, dict(fields), Stamp(by, why))


def pause_pool(pool: str, *, by: str, why: str = "") -> SchedulingPolicy:
    """Seat nothing in a pool until it is resumed: requests stay queued, what runs goes on."""
    return put_policy(pool, {"paused": True}, Stamp(by, why))


def resume_pool(pool: str, *, by: str, why: str = "") -> SchedulingPolicy:
    """Seat again in a pool that was paused."""
    return put_policy(pool, {"paused": False}, Stamp(by, why))


def create_priority_class(
    name: str, *, by: str, why: str = "", **fields: Unpack[ClassFields]
) -> PriorityClass:
    """Make a class. Without a rank it goes behind all others."""
    with writing():
        ranks = PriorityClass.objects.values_list("rank", flat=True)
        values = {"rank": max(ranks, default=-1) + 1, **fields}
        row = save_new(PriorityClass(name=name, **values))
        record(
            "class", name, Stamp(by, why, "create"), after={each: getattr(row, each) for each in CLASS_FIELDS}
        )
    return row


def set_priority_class(name: str, *, by: str, why: str = "", **fields: Unpack[ClassFields]) -> PriorityClass:
    """Change a class's rank, its reserved and lent seats, or its longest wait."""
    return put_class(name, dict(fields), Stamp(by, why))


def delete_priority_class(name: str, *, by: str, why: str = "") -> None:
    """Remove a class. Raises Conflict while a tenant or an API token has it."""
    with writing():
        row = find(PriorityClass.objects, name=name)
        before = {each: getattr(row, each) for each in CLASS_FIELDS}
        remove(row)
        record("class", name, Stamp(by, why, "delete"), before=before)


def put_policy(pool: str, fields: dict[str, Any], stamp: Stamp) -> SchedulingPolicy:
    """Set fields of a pool's policy under any verb of the audit."""
    with writing():
        row = find(Pool.objects, name=pool)
        policy, _ = SchedulingPolicy.objects.get_or_create(pool=row)
        mode = fields.get("engine_priority", policy.engine_priority)
        if mode != policy.engine_priority:
            refuse_engine_priority(row, mode)
        set_fields("policy", policy, fields, stamp, target=pool)
    return policy


def put_class(name: str, fields: dict[str, Any], stamp: Stamp) -> PriorityClass:
    """Set fields of a class under any verb of the audit."""
    with writing():
        row = find(PriorityClass.objects, name=name)
        set_fields("class", row, fields, stamp)
    return row


def put_model(name: str, fields: dict[str, Any], stamp: Stamp) -> ServedModel:
    """Set fields of a model under any verb of the audit."""
    with writing():
        row = find(ServedModel.objects, name=name)
        set_fields("model", row, fields, stamp)
    return row


def price_fields(prices: Prices) -> dict[str, Any]:
    """Prices as the fields of a model."""
    unknown = set(prices) - set(Prices.__annotations__)
    if unknown:
        known = ", ".join(Prices.__annotations__)
        raise ValidationError({"prices": f"Unknown: {', '.join(sorted(unknown))}. Use: {known}."})
    return {f"{kind}_price": prices.get(kind, 0) for kind in Prices.__annotations__}


def prices_of(model: ServedModel) -> dict[str, int]:
    """What a model's tokens cost, without what is free."""
    found = {kind: getattr(model, f"{kind}_price") for kind in Prices.__annotations__}
    return {kind: price for kind, price in found.items() if price}


def _model(model: ServedModel) -> dict[str, Any]:
    optional = {"prices": prices_of(model), "fallbacks": fallbacks_of(model)}
    return {"pool": model.pool.name, **{name: value for name, value in optional.items() if value}}


def _refuse_if_listed(model: ServedModel) -> None:
    listed_by = list(Backend.objects.filter(served_models=model).values_list("name", flat=True))
    if listed_by:
        raise Conflict(
            f"Model {model.name} is listed by backend {', '.join(listed_by)}. Change that backend first."
        )
