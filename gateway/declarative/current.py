"""The installation as it is, in the shape of the file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from gateway import selectors as gateway_selectors
from gateway.declarative.document import ENTRIES, written_name
from gateway.declarative.plan import LONG_FIELDS, SECRET_FIELDS
from gateway.hold import written_hold
from gateway.models import ApiToken
from scheduling import selectors, services
from scheduling.models import Alias, SchedulingPolicy, Tenant
from scheduling.services.backends import PLAIN_FIELDS
from scheduling.services.pools import CLASS_FIELDS, POLICY_FIELDS

Rows = dict[str, dict[str, Any]]

KEYS = {"tenants": "slug", "policies": "pool"}  # the others have a name


@dataclass(frozen=True, slots=True)
class Export:
    """The installation as data for a YAML file, and what could not go in."""

    document: dict[str, Any]
    left_out: tuple[str, ...]


def token_fields(row: ApiToken) -> dict[str, Any]:
    """What a file may say of an API token, besides its name and its secret."""
    return {
        "class_ceiling": row.class_ceiling.name if row.class_ceiling else None,
        "quotas": row.quotas,
        "models": row.allowed_models,
        "hold_status_s": written_hold(row.hold_status_s),
        "expires_at": row.expires_at,
    }


def current() -> dict[str, Rows]:
    """Every row, with engines' API keys in the clear: for comparing, never for showing."""
    with selectors.consistent_read():
        return {
            "pools": {pool.name: {} for pool in selectors.pools()},
            "classes": {
                row.name: {name: getattr(row, name) for name in CLASS_FIELDS} for row in selectors.classes()
            },
            "models": {
                row.name: {"pool": row.pool.name, "prices": services.prices_of(row)}
                for row in selectors.served_models()
            },
            "fallbacks": {
                row.name: {"fallbacks": services.fallbacks_of(row)} for row in selectors.served_models()
            },
            "aliases": {row.name: _alias(row) for row in selectors.aliases()},
            "tenants": {row.slug: _tenant(row) for row in selectors.tenants()},
            "backends": _backends(),
            "policies": {row.pool.name: _policy(row) for row in selectors.policies()},
            "tokens": _tokens(),
        }


def export() -> Export:
    """Everything that a file may hold. Secrets and certificates are left out, and named.

    So are boosts that have ended, without a word.
    """
    state = current()
    for fields in state["tenants"].values():
        if (boost := fields["boost"]) and datetime.fromisoformat(boost["until"]) <= timezone.now():
            fields["boost"] = None
    for name, fields in state["fallbacks"].items():
        state["models"][name].update(fields)
    left_out = [
        *(
            f"backends: the API key of {name}; add api_key_env"
            for name in _having(state, "backends", "api_key")
        ),
        *(f"backends: the CA of {name}; add ca_file" for name in _having(state, "backends", "ca_pem")),
        *(f"tokens: the secret of {name}; add secret_env" for name in state["tokens"]),
    ]
    document = {
        section: [_entry(section, name, fields) for name, fields in state[section].items()]
        for section in ENTRIES
        if state[section]
    }
    return Export(document, tuple(left_out))


def _entry(section: str, name: str, fields: dict[str, Any]) -> dict[str, Any]:
    if section == "tokens":
        tenant, _, own = name.partition("/")
        entry: dict[str, Any] = {"tenant": tenant, "name": own}
    else:
        entry = {KEYS.get(section, "name"): name}
    for field, value in fields.items():
        if field not in (*SECRET_FIELDS, *LONG_FIELDS) and not _says_nothing(value):
            entry[written_name(ENTRIES[section], field)] = value
    return entry


def _says_nothing(value: Any) -> bool:
    return value is None or value is False or value in ([], {}, "")


def _having(state: dict[str, Rows], section: str, field: str) -> list[str]:
    return [name for name, fields in state[section].items() if fields[field]]


def _tenant(row: Tenant) -> dict[str, Any]:
    return {
        "name": row.name,
        "weight": row.weight,
        "priority_class": row.priority_class.name,
        "quotas": services.quotas_of(row),
        "model_quotas": services.model_quotas_of(row),
        "suspended": row.state == Tenant.State.SUSPENDED,
        "paused": row.state == Tenant.State.PAUSED,
        "boost": {"factor": row.boost, "until": row.boost_until.isoformat()} if row.boost_until else None,
    }


def _alias(row: Alias) -> dict[str, Any]:
    return {"targets": services.targets_of(row), "fallbacks": services.fallbacks_of(row)}


def _policy(row: SchedulingPolicy) -> dict[str, Any]:
    return {name: getattr(row, name) for name in POLICY_FIELDS}


def _backends() -> Rows:
    reached = selectors.endpoints()
    return {
        row.name: {
            "pool": row.pool.name,
            "url": row.url,
            **{field: getattr(row, field) for field in PLAIN_FIELDS},
            "models": sorted(model.name for model in row.served_models.all()),
            "api_key": reached[row.name].api_key,
            "ca_pem": row.ca_pem,
        }
        for row in selectors.backends()
    }


def _tokens() -> Rows:
    rows = gateway_selectors.api_tokens().filter(revoked_at=None, tenant__isnull=False).order_by("id")
    return {
        f"{row.tenant}/{row.name}": {"digest": bytes(row.digest).hex(), **token_fields(row)} for row in rows
    }
