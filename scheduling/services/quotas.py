"""Writes about the quotas of a tenant, and of a tenant for one model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from scheduling.models import Quota, ServedModel, Tenant
from scheduling.quotas import Written, read_quota, written_quota
from scheduling.services.edits import Stamp, clean, find, record, referred, save_new, writing


def set_quota(
    tenant: str, kind: str, quota: Written | None, *, by: str, why: str = "", model: str = ""
) -> None:
    """Set one limit of a tenant, for one model if it is named, or remove it with None."""
    put_quota(target_of(tenant, model), kind, quota, Stamp(by, why))


def put_quota(target: str, kind: str, quota: Written | None, stamp: Stamp) -> None:
    """Set or remove the quota of a target under any verb of the audit."""
    slug, _, model = target.partition("/")
    with writing():
        tenant = find(Tenant.objects, slug=slug)
        served = referred("model", ServedModel.objects, model) if model else None
        row = Quota.objects.filter(tenant=tenant, model=served, kind=kind).first()
        before = written_quota(row.limit, waits=row.waits) if row else None
        row = row or Quota(tenant=tenant, model=served, kind=kind)
        if quota is not None:
            row.limit, row.waits = read_quota(kind, quota)
            clean(row)
            quota = written_quota(row.limit, waits=row.waits)
        else:
            read_quota(kind, 1)  # says so when there is no such kind
        if quota == before:
            return
        if quota is None:
            row.delete()
        else:
            row.save()
        record("quota", target, stamp, field=kind, before=before, after=quota)


def save_quotas(
    tenant: Tenant, quotas: Mapping[str, Written], model_quotas: Mapping[str, Mapping[str, Written]]
) -> None:
    """Give a new tenant its limits."""
    for model, wanted in {"": quotas, **model_quotas}.items():
        served = referred("model_quotas", ServedModel.objects, model) if model else None
        for kind, quota in wanted.items():
            limit, waits = read_quota(kind, quota)
            save_new(Quota(tenant=tenant, model=served, kind=kind, limit=limit, waits=waits))


def quotas_of(tenant: Tenant) -> dict[str, Written]:
    """A tenant's own limits by kind."""
    rows = (row for row in tenant.quotas.all() if row.model_id is None)
    return {row.kind: written_quota(row.limit, waits=row.waits) for row in rows}


def model_quotas_of(tenant: Tenant) -> dict[str, dict[str, Written]]:
    """A tenant's limits for single models, by model and kind."""
    found: dict[str, dict[str, Written]] = defaultdict(dict)
    for row in tenant.quotas.all():
        if row.model is not None:
            found[row.model.name][row.kind] = written_quota(row.limit, waits=row.waits)
    return dict(found)


def target_of(tenant: str, model: str = "") -> str:
    """How the audit calls whose quota it is. A slug has no slash; a model may."""
    return f"{tenant}/{model}" if model else tenant
