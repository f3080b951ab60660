"""Writes about tenants: share, class, state, boost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack

from django.core.exceptions import ValidationError
from django.utils import timezone

from scheduling.core import policy
from scheduling.models import PriorityClass, Tenant
from scheduling.quotas import Written
from scheduling.services.edits import Stamp, find, record, referred, save_new, set_fields, writing
from scheduling.services.quotas import model_quotas_of, quotas_of, save_quotas

MOST_BOOST_MINUTES = 24 * 60  # what should hold longer is a weight
FACTOR_ERROR = f"The factor of a boost is from 2 to {policy.MAX_BOOST}. End the boost instead of one of 1."


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


def pause_tenant(tenant: str, *, by: str, why: str = "") -> Tenant:
    """Seat none of the tenant's requests until it is resumed: they stay queued, new ones too."""
    return put_tenant(tenant, {"state": Tenant.State.PAUSED}, Stamp(by, why))


def resume_tenant(tenant: str, *, by: str, why: str = "") -> Tenant:
    """Let a suspended tenant in, or a paused one go on."""
    return put_tenant(tenant, {"state": Tenant.State.ACTIVE}, Stamp(by, why))


def set_state(
    tenant: str, *, by: str, why: str = "", suspended: bool | None = None, paused: bool | None = None
) -> Tenant:
    """Suspend or pause a tenant, or end the one of both that is False; None says nothing.

    Raises ValidationError for both at once.
    """
    if suspended and paused:
        raise ValidationError({"paused": "A tenant is paused or suspended, not both. Leave one out."})
    with writing():
        state = find(Tenant.objects, slug=tenant).state
        for wanted, told in ((Tenant.State.SUSPENDED, suspended), (Tenant.State.PAUSED, paused)):
            if told is False and state == wanted:
                state = Tenant.State.ACTIVE
        if suspended or paused:
            state = Tenant.State.SUSPENDED if suspended else Tenant.State.PAUSED
        return put_tenant(tenant, {"state": state}, Stamp(by, why))


def boost_tenant(tenant: str, factor: int, minutes: int, *, by: str, why: str = "") -> Tenant:
    """Count the tenant's weight ``factor`` times for so many minutes, for what waits already too.

    Raises ValidationError for a factor outside 2..100, or minutes outside 1..1440.
    """
    if not 1 <= minutes <= MOST_BOOST_MINUTES:
        raise ValidationError(
            {"minutes": f"A boost takes from 1 to {MOST_BOOST_MINUTES} minutes (24 hours)."}
        )
    if not _is_boost(factor):
        raise ValidationError({"factor": FACTOR_ERROR})
    until = timezone.now().replace(microsecond=0) + timedelta(minutes=minutes)
    return put_tenant(tenant, {"boost": factor, "boost_until": until}, Stamp(by, why))


def set_boost(tenant: str, factor: int, until: datetime, *, by: str, why: str = "") -> Tenant:
    """Boost a tenant until a moment. One that has passed is kept and not in force.

    Raises ValidationError for a factor outside 2..100, or an end that is more than 24 hours away.
    """
    if not _is_boost(factor):
        raise ValidationError({"boost": FACTOR_ERROR})
    if until > timezone.now() + timedelta(minutes=MOST_BOOST_MINUTES):
        raise ValidationError({"boost": f"It ends at {until}. Let it end within 24 hours from now."})
    return put_tenant(tenant, {"boost": factor, "boost_until": until}, Stamp(by, why))


def end_boost(tenant: str, *, by: str, why: str = "") -> Tenant:
    """Count the tenant's weight once again."""
    return put_tenant(tenant, {"boost": 1, "boost_until": None}, Stamp(by, why))


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


def _is_boost(factor: int) -> bool:
    return 1 < factor <= policy.MAX_BOOST


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
