"""The rows of the rules as the values that make up a policy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

from scheduling import models
from scheduling.core.policy import (
    DEFAULT_MAX_IN_FLIGHT,
    BackendRule,
    ClassRule,
    ModelRoute,
    PoolRule,
    Prices,
    TenantRule,
)
from scheduling.core.usage import CostRule


def tenant_rules() -> dict[str, TenantRule]:
    """Tenants by slug, with their quotas."""
    quotas: dict[int, list[models.Quota]] = defaultdict(list)
    for quota in models.Quota.objects.select_related("model").order_by():
        quotas[quota.tenant_id].append(quota)
    rows = models.Tenant.objects.values_list(
        "id", "slug", "weight", "priority_class__name", "state", "boost", "boost_until"
    )
    return {
        slug: TenantRule(
            slug=slug,
            weight=weight,
            priority_class=priority_class,
            suspended=state == models.Tenant.State.SUSPENDED,
            paused=state == models.Tenant.State.PAUSED,
            boost=boost,
            boost_until_s=until.timestamp() if until else 0.0,
            **(_quota_rules(quotas[key]) if key in quotas else {}),
        )
        for key, slug, weight, priority_class, state, boost, until in rows
    }


def _quota_rules(rows: Iterable[models.Quota]) -> dict[str, Any]:
    limits: dict[str, dict[str, int]] = defaultdict(dict)
    refusing: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        model = row.model.name if row.model else ""
        limits[model][row.kind] = row.limit
        if not row.waits:
            refusing[model].add(row.kind)
    return {
        "quotas": MappingProxyType(limits.pop("", {})),
        "model_quotas": MappingProxyType({model: MappingProxyType(of) for model, of in limits.items()}),
        "refusing": MappingProxyType({model: frozenset(kinds) for model, kinds in refusing.items()}),
    }


def prices() -> dict[str, Prices]:
    """What models' tokens cost, without those that are free."""
    rows = models.ServedModel.objects.values_list("name", "prompt_price", "cached_price", "completion_price")
    return {name: Prices(*prices) for name, *prices in rows if any(prices)}


def class_rules() -> dict[str, ClassRule]:
    """Classes by name."""
    return {
        row.name: ClassRule(
            name=row.name,
            rank=row.rank,
            reserved_seats=row.reserved_seats,
            lent_seats=row.lent_seats,
            max_wait_ms=None if row.max_wait_s is None else row.max_wait_s * 1000,
        )
        for row in models.PriorityClass.objects.all()
    }


def pool_rules() -> dict[str, PoolRule]:
    """Every pool by name; one without a policy row has the default."""
    rules = {name: PoolRule(name) for name in models.Pool.objects.values_list("name", flat=True)}
    for row in models.SchedulingPolicy.objects.select_related("pool"):
        rules[row.pool.name] = PoolRule(
            name=row.pool.name,
            fairness=row.fairness,
            admission=row.admission,
            window_requests=row.window_requests,
            engine_queue_target_requests=row.engine_queue_target_requests,
            tpot_target_ms=row.tpot_target_ms,
            stale=row.stale,
            counts_sent=row.counts_sent,
            kv_fill_percent=row.kv_fill_percent,
            prefix_slack_requests=row.prefix_slack_requests,
            engine_priority=row.engine_priority,
            paused=row.paused,
            cost=CostRule(row.prompt_weight, row.completion_weight, row.cached_discount_percent),
        )
    return rules


def routes() -> dict[str, ModelRoute]:
    """By asked name: every alias, and every served model that has fallbacks."""
    fallbacks = models.Fallback.objects
    of_models = _in_order(fallbacks.filter(of_alias=None).values_list("of_model__name", "model__name"))
    of_aliases = _in_order(fallbacks.filter(of_model=None).values_list("of_alias__name", "model__name"))
    targets: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for alias, model, weight in models.AliasTarget.objects.values_list(
        "alias__name", "model__name", "weight"
    ):
        targets[alias].append((model, weight))
    return {
        **{name: ModelRoute(((name, 1),), tuple(names)) for name, names in of_models.items()},
        **{name: ModelRoute(tuple(of), tuple(of_aliases[name])) for name, of in targets.items()},
    }


def _in_order(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = defaultdict(list)
    for name, fallback in pairs:
        lists[name].append(fallback)
    return lists


def backend_rules() -> dict[str, BackendRule]:
    """Backends by name; one that lists no model has all of its pool."""
    in_pool: dict[str, set[str]] = defaultdict(set)
    for name, pool in models.ServedModel.objects.values_list("name", "pool__name"):
        in_pool[pool].add(name)
    return {
        row.name: BackendRule(
            name=row.name,
            pool=row.pool.name,
            models=frozenset(model.name for model in row.served_models.all())
            or frozenset(in_pool[row.pool.name]),
            max_in_flight=row.max_in_flight or DEFAULT_MAX_IN_FLIGHT,
            learns_cap=row.max_in_flight is None,
            kv_tokens=row.kv_tokens,
            draining=row.state == models.Backend.State.DRAINING,
            engine=row.engine,
        )
        for row in models.Backend.objects.select_related("pool").prefetch_related("served_models")
    }
