"""The pools' policies, and the classes."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Query, Router

from gateway.api.access import by
from gateway.api.inputs import ClassChange, PolicyChange
from gateway.api.outputs import ClassOut, PolicyOut
from gateway.api.paging import Page, PageQuery, page
from gateway.api.problems import answers
from scheduling import selectors, services

policies = Router(tags=["policies"])
classes = Router(tags=["policies"])


@policies.get("", response=answers(Page[PolicyOut]))
def list_policies(request: HttpRequest, query: Query[PageQuery]) -> object:
    """The policies of all pools."""
    return page(selectors.policies(), query, "pool_id")


@policies.get("/{pool}", response=answers(PolicyOut))
def read_policy(request: HttpRequest, pool: str) -> object:
    """How one pool shares and admits."""
    return selectors.found(selectors.policies(), pool__name=pool)


@policies.patch("/{pool}", response=answers(PolicyOut))
def change_policy(request: HttpRequest, pool: str, body: PolicyChange) -> object:
    """Change how a pool shares and admits, from the next dispatch on."""
    return services.set_policy(pool, **body.given(), by=by(request), why=body.why)


@classes.get("", response=answers(Page[ClassOut]))
def list_classes(request: HttpRequest, query: Query[PageQuery]) -> object:
    """All classes; the first goes first."""
    return page(selectors.classes(), query, "rank")


@classes.patch("/{name}", response=answers(ClassOut))
def change_class(request: HttpRequest, name: str, body: ClassChange) -> object:
    """Change a class's rank, its reserved and lent seats, or its longest wait."""
    return services.set_priority_class(name, **body.given(), by=by(request), why=body.why)
