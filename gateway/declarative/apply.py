"""Putting a file in force: every step through the same services as the console, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import transaction

from gateway import services as gateway_services
from gateway.declarative.current import current, token_fields
from gateway.declarative.document import ENTRIES, BadFile, written_name
from gateway.declarative.plan import Step, plan
from gateway.declarative.wanted import Wanted
from gateway.models import ApiToken
from gateway.selectors import api_tokens
from scheduling import selectors, services
from scheduling.quotas import Written

Nested = Mapping[str, Mapping[str, Written]]

STATE_FIELDS = ("suspended", "paused")  # one column, so they are written together


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done, or would be, and the revision in force after it."""

    steps: tuple[Step, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class _Errand:
    """What every step needs besides itself."""

    by: str
    why: str
    secrets: Mapping[str, str]

    @property
    def stamp(self) -> dict[str, Any]:
        return {"by": self.by, "why": self.why}


def apply(
    target: Wanted, *, by: str = "apply", why: str = "", prune: bool = False, dry_run: bool = False
) -> Applied:
    """Make the installation as the file says, or nothing at all.

    A dry run does everything and takes it back, so it finds every problem
    that the real one would. Raises BadFile.
    """
    errand = _Errand(by, why, target.secrets)
    with services.writing():
        steps = plan(current(), target.state, prune=prune)
        for step in steps:
            _carry_out(step, errand, target)
        if dry_run:
            transaction.set_rollback(True)
    return Applied(tuple(steps), selectors.revision())


def _carry_out(step: Step, errand: _Errand, target: Wanted) -> None:
    place = target.places.get((step.section, step.name), f"{step.noun} {step.name}")
    try:
        _DOERS[step.section, step.action](step, errand)
    except ValidationError as error:
        raise BadFile(_problems(error, place, step)) from None
    except (services.Conflict, services.Missing) as error:
        raise BadFile([f"{place}: {error}"]) from None


def _problems(error: ValidationError, place: str, step: Step) -> list[str]:
    entry = ENTRIES.get(step.section)
    problems = []
    for field, messages in error.message_dict.items():
        name = written_name(entry, field) if entry else field
        where = place if field == NON_FIELD_ERRORS else f"{place}.{name}"
        problems.append(f"{where}: {' '.join(messages)}")
    return problems


def _create_tenant(step: Step, errand: _Errand) -> None:
    fields = dict(step.after)
    state = {field: fields.pop(field) for field in STATE_FIELDS if field in fields}
    boost = fields.pop("boost", None)
    services.create_tenant(step.name, fields.pop("name", ""), **fields, **errand.stamp)
    services.set_state(step.name, **state, **errand.stamp)
    if boost:
        _set_boost(step.name, boost, errand, None)


def _change_tenant(step: Step, errand: _Errand) -> None:
    state = {field: step.after[field] for field in STATE_FIELDS if field in step.after}
    for field in step.after.keys() - state.keys():
        _TENANT_WRITES[field](step.name, step.after[field], errand, step.before[field])
    if state:
        services.set_state(step.name, **state, **errand.stamp)


def _set_quotas(
    tenant: str, quotas: Mapping[str, Written], errand: _Errand, before: Mapping[str, Written]
) -> None:
    for kind in dict.fromkeys((*before, *quotas)):
        services.set_quota(tenant, kind, quotas.get(kind), **errand.stamp)


def _set_model_quotas(tenant: str, models: Nested, errand: _Errand, before: Nested) -> None:
    for model in dict.fromkeys((*before, *models)):
        quotas, was = models.get(model, {}), before.get(model, {})
        for kind in dict.fromkeys((*was, *quotas)):
            services.set_quota(tenant, kind, quotas.get(kind), model=model, **errand.stamp)


def _change_model(step: Step, errand: _Errand) -> None:
    if "pool" in step.after:
        services.move_model(step.name, step.after["pool"], **errand.stamp)
    if "prices" in step.after:
        services.set_prices(step.name, step.after["prices"], **errand.stamp)


def _create_alias(step: Step, errand: _Errand) -> None:
    fields = {"targets": {}, **step.after}  # none are refused, with the mend
    services.create_alias(step.name, **fields, **errand.stamp)


def _set_fallbacks(step: Step, errand: _Errand) -> None:
    services.set_fallbacks(step.name, step.after["fallbacks"], **errand.stamp)


def _set_boost(tenant: str, boost: Mapping[str, Any] | None, errand: _Errand, _before: Any) -> None:
    if boost:
        until = datetime.fromisoformat(boost["until"])
        services.set_boost(tenant, boost["factor"], until, **errand.stamp)
    else:
        services.end_boost(tenant, **errand.stamp)


def _set_policy(step: Step, errand: _Errand) -> None:
    services.set_policy(step.name, **step.after, **errand.stamp)


def _create_token(step: Step, errand: _Errand) -> None:
    _issue_token(step, errand, {name: value for name, value in step.after.items() if name != "digest"})


def _issue_token(step: Step, errand: _Errand, settings: Mapping[str, Any]) -> None:
    tenant, _, name = step.name.partition("/")
    secret = errand.secrets.get(step.name)
    if secret is None:
        raise ValidationError({"secret_env": "missing. A new API token needs the variable of its secret."})
    gateway_services.issue_token(tenant=tenant, name=name, secret=secret, **settings, **errand.stamp)


def _replace_token(step: Step, errand: _Errand) -> None:
    fixed = [field for field in step.after if field != "digest"]
    if fixed:
        raise ValidationError(
            dict.fromkeys(
                fixed, "An API token's class, quotas, models, hold time and end are fixed. Use another name."
            )
        )
    settings = token_fields(_token_of(step))
    _revoke_token(step, errand)
    _issue_token(step, errand, settings)


def _revoke_token(step: Step, errand: _Errand) -> None:
    gateway_services.revoke_token(_token_of(step).pk, **errand.stamp)


def _token_of(step: Step) -> ApiToken:
    tenant, _, name = step.name.partition("/")
    return api_tokens(tenant).get(name=name, revoked_at=None)


_TENANT_WRITES: dict[str, Callable[[str, Any, _Errand, Any], object]] = {
    "name": lambda tenant, value, errand, _: services.rename_tenant(tenant, value, **errand.stamp),
    "weight": lambda tenant, value, errand, _: services.set_weight(tenant, value, **errand.stamp),
    "priority_class": lambda tenant, value, errand, _: services.set_class(tenant, value, **errand.stamp),
    "quotas": _set_quotas,
    "model_quotas": _set_model_quotas,
    "boost": _set_boost,
}
_DOERS: dict[tuple[str, str], Callable[[Step, _Errand], object]] = {
    ("pools", "create"): lambda step, errand: services.create_pool(step.name, **errand.stamp),
    ("pools", "delete"): lambda step, errand: services.delete_pool(step.name, **errand.stamp),
    ("classes", "create"): lambda step, errand: services.create_priority_class(
        step.name, **step.after, **errand.stamp
    ),
    ("classes", "change"): lambda step, errand: services.set_priority_class(
        step.name, **step.after, **errand.stamp
    ),
    ("classes", "delete"): lambda step, errand: services.delete_priority_class(step.name, **errand.stamp),
    ("models", "create"): lambda step, errand: services.create_model(step.name, **step.after, **errand.stamp),
    ("models", "change"): _change_model,
    ("models", "delete"): lambda step, errand: services.delete_model(step.name, **errand.stamp),
    ("fallbacks", "change"): _set_fallbacks,
    ("aliases", "create"): _create_alias,
    ("aliases", "change"): lambda step, errand: services.change_alias(
        step.name, **step.after, **errand.stamp
    ),
    ("aliases", "delete"): lambda step, errand: services.delete_alias(step.name, **errand.stamp),
    ("tenants", "create"): _create_tenant,
    ("tenants", "change"): _change_tenant,
    ("tenants", "delete"): lambda step, errand: services.delete_tenant(step.name, **errand.stamp),
    ("backends", "create"): lambda step, errand: services.create_backend(
        step.name, **step.after, **errand.stamp
    ),
    ("backends", "change"): lambda step, errand: services.change_backend(
        step.name, **step.after, **errand.stamp
    ),
    ("backends", "delete"): lambda step, errand: services.delete_backend(step.name, **errand.stamp),
    ("policies", "create"): _set_policy,
    ("policies", "change"): _set_policy,
    ("tokens", "create"): _create_token,
    ("tokens", "change"): _replace_token,
    ("tokens", "delete"): _revoke_token,
}
