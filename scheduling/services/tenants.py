"""Writes about tenants: share, class, suspension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

from scheduling.core import policy
from scheduling.models import PriorityClass, Tenant
from scheduling.quotas import Written
from scheduling.services.edits import Stamp, find, record, referred, save_new, set_fields, writing
from scheduling.services.quotas import model_quotas_of, quotas_of, save_quotas


class TenantSettings(TypedDict, total=False):
    """What a new tenant may be given besides its name. Quotas are as scheduling/quotas.py has them."""

    weight: int
    priority_class: str
    quotas: Mapping[str, Written] | None
    model_quotas: Mapping[str, Mapping[str, Written]] | None


def create_tenant(
    slug: str, name: str = "", *, by: str, why: str = "", **settings: Unpack[TenantSettings]
) -> Tenant:
    """Make a tenant. Raises ValidationError by field."""
    with writing():
        tenant = save_new(
            Tenant(
                slug=slug,
                name=name or slug,
                weight=settings.get("weight", policy.DEFAULT_WEIGHT),
                priority_class=_class(settings.get("priority_class", policy.DEFAULT_CLASS)),
            )
        )
        save_quotas(tenant, settings.get("quotas") or {}, settings.get("model_quotas") or {})
        record("tenant", slug, Stamp(by, why, "create"), after=_whole(tenant))
    return tenant


def rename_tenant(tenant: str, name: str, *, by: str, why: str = "") -> Tenant:
    """Change the name people see. The slug stays: records carry it."""
    return put_tenant(tenant, {"name": name}, Stamp(by, why))


def set_weight(tenant: str, weight: int, *, by: str, why: str = "") -> Tenant:
    """Change a tenant's share from the next dispatch on, for requests that already wait too.

    Raises ValidationError outside 1..1000.
    """
    return put_tenant(tenant, {"weight": weight}, Stamp(by, why))


def set_class(tenant: str, priority_class: str, *, by: str, why: str = "") -> Tenant:
    """Change the class of a tenant's requests that name none."""
    return put_tenant(tenant, {"priority_class": priority_class}, Stamp(by, why))


def suspend_tenant(tenant: str, *, by: str, why: str = "") -> Tenant:
    """Refuse the tenant's new requests until it is resumed. What runs may end."""
    return put_tenant(tenant, {"state": Tenant.State.SUSPENDED}, Stamp(by, why))


def resume_tenant(tenant: str, *, by: str, why: str = "") -> Tenant:
    """Let a suspended tenant in again."""
    return put_tenant(tenant, {"state": Tenant.State.ACTIVE}, Stamp(by, why))


def delete_tenant(tenant: str, *, by: str, why: str = "") -> None:
    """Remove a tenant with its quotas and API tokens. Its usage records stay."""
    with writing():
        row = find(Tenant.objects, slug=tenant)
        before = _whole(row)
        row.delete()
        record("tenant", tenant, Stamp(by, why, "delete"), before=before)


def put_tenant(slug: str, values: Mapping[str, Any], stamp: Stamp) -> Tenant:
    """Set fields of a tenant under any verb of the audit."""
    with writing():
        tenant = find(Tenant.objects, slug=slug)
        if name := values.get("priority_class"):
            values = {**values, "priority_class": _class(name)}
        set_fields("tenant", tenant, values, stamp)
    return tenant


def _class(name: str) -> PriorityClass:
    return referred("priority_class", PriorityClass.objects, name)


def _whole(tenant: Tenant) -> dict[str, Any]:
    return {
        "name": tenant.name,
        "weight": tenant.weight,
        "priority_class": str(tenant.priority_class),
        "state": str(tenant.state),
        "quotas": quotas_of(tenant),
        **({"model_quotas": found} if (found := model_quotas_of(tenant)) else {}),
    }
