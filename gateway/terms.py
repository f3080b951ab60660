"""What one caller's requests for one model have in common."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.callers import Caller
from gateway.classes import choose_class
from gateway.errors import ModelNotAllowed, ModelNotFound
from scheduling.core.policy import FREE, IN_FLIGHT, Policy, PoolRule, Prices, TenantRule
from scheduling.core.quota import Holder
from scheduling.core.usage import CostRule


class Terms(msgspec.Struct, gc=False):
    """What one caller's requests for one model have in common, as long as nothing is changed."""

    caller: Caller
    tenant: TenantRule
    api_token: str  # its number
    in_flight: int | None  # how many requests the API token may have at engines
    asked: str  # the name in the request
    model: str  # that serves it
    pool: str
    revision: int  # of the policy
    is_steered: bool  # by the beginnings of prompts
    prices: Prices
    cost: CostRule  # of the pool
    priority_class: str  # unless the request asks for another
    user: str  # unless the request names one
    hold_s: float | None  # unless the request says another
    holders: Sequence[Holder] | None = None  # whose quotas the requests fall under, once that is known


def terms_of(caller: Caller, asked: str, model: str, policy: Policy) -> Terms:
    """The caller's terms for a model under that name. Raises ModelNotFound or ModelNotAllowed."""
    pool = policy.models.get(model)
    if pool is None:
        raise ModelNotFound(f"There is no model {asked!r}. GET /v1/models lists them.", param="model")
    if caller.models and asked not in caller.models:
        raise ModelNotAllowed(param="model")
    rule = policy.pools.get(pool) or PoolRule(pool)
    return Terms(
        caller,
        policy.tenants.get(caller.tenant) or TenantRule(caller.tenant),
        str(caller.token_id),
        caller.quotas.get(IN_FLIGHT),
        asked,
        model,
        pool,
        policy.revision,
        rule.prefix_slack_requests is not None,
        policy.prices.get(model, FREE),
        rule.cost,
        choose_class(None, {}, caller, policy),
        f"token-{caller.token_id}",
        caller.hold_s,
    )
