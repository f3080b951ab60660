"""Tenants."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest
from ninja import Query, Router
from ninja.responses import Status

from gateway.api.access import by
from gateway.api.inputs import BoostIn, TenantChange, TenantIn
from gateway.api.outputs import TenantOut
from gateway.api.paging import Page, PageQuery, page
from gateway.api.problems import answers
from scheduling import selectors, services
from scheduling.models import Tenant

router = Router(tags=["tenants"])


@router.get("", response=answers(Page[TenantOut]))
def list_tenants(request: HttpRequest, query: Query[PageQuery]) -> object:
    """All tenants, by slug."""
    return page(selectors.tenants(), query, "slug")


@router.post("", response=answers(TenantOut, 201))
def create_tenant(request: HttpRequest, body: TenantIn) -> object:
    """Make a tenant."""
    services.create_tenant(**body.given(), by=by(request), why=body.why)
    return Status(201, _found(body.slug))


@router.get("/{slug}", response=answers(TenantOut))
def read_tenant(request: HttpRequest, slug: str) -> object:
    """One tenant."""
    return _found(slug)


@router.patch("/{slug}", response=answers(TenantOut))
def change_tenant(request: HttpRequest, slug: str, body: TenantChange) -> object:
    """Change a tenant. Takes effect on the next dispatch, for requests that already wait too."""
    stamp = {"by": by(request), "why": body.why}
    given = body.given()
    quotas = {"": given.pop("quotas", None) or {}, **(given.pop("model_quotas", None) or {})}
    suspended, paused = given.pop("suspended", None), given.pop("paused", None)
    writes: dict[str, Callable[..., Tenant]] = {
        "name": services.rename_tenant,
        "weight": services.set_weight,
        "priority_class": services.set_class,
    }
    with services.writing():
        _found(slug)
        for field, value in given.items():
            writes[field](slug, value, **stamp)
        for model, changes in quotas.items():
            for kind, quota in changes.items():
                services.set_quota(slug, kind, quota, model=model, **stamp)
        services.set_state(slug, suspended=suspended, paused=paused, **stamp)
    return _found(slug)


@router.post("/{slug}/boost", response=answers(TenantOut))
def boost_tenant(request: HttpRequest, slug: str, body: BoostIn) -> object:
    """Count the tenant's weight ``factor`` times for so many minutes, from the next dispatch on."""
    services.boost_tenant(slug, body.factor, body.minutes, by=by(request), why=body.why)
    return _found(slug)


@router.delete("/{slug}/boost", response=answers(TenantOut))
def end_boost(request: HttpRequest, slug: str) -> object:
    """Count the tenant's weight once again."""
    services.end_boost(slug, by=by(request))
    return _found(slug)


@router.delete("/{slug}", response=answers(None, 204))
def delete_tenant(request: HttpRequest, slug: str) -> object:
    """Remove a tenant with its API tokens. Its usage records stay."""
    services.delete_tenant(slug, by=by(request))
    return Status(204, None)


def _found(slug: str) -> Tenant:
    return selectors.found(selectors.tenants(), slug=slug)
