"""The audit."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Query, Router

from gateway.api.access import by
from gateway.api.inputs import Why
from gateway.api.outputs import ChangeOut
from gateway.api.paging import Page, PageQuery, page
from gateway.api.problems import answers
from scheduling import selectors, services

router = Router(tags=["changes"])


class ChangeQuery(PageQuery):
    """Which changes."""

    noun: str = ""
    target: str = ""


@router.get("", response=answers(Page[ChangeOut]))
def list_changes(request: HttpRequest, query: Query[ChangeQuery]) -> object:
    """Who changed what, newest first."""
    wanted = {name: value for name, value in (("noun", query.noun), ("target", query.target)) if value}
    return page(selectors.changes().filter(**wanted), query, "-id")


@router.get("/{int:change_id}", response=answers(ChangeOut))
def read_change(request: HttpRequest, change_id: int) -> object:
    """One change."""
    return selectors.found(selectors.changes(), pk=change_id)


@router.post("/{int:change_id}/undo", response=answers(ChangeOut))
def undo_change(request: HttpRequest, change_id: int, body: Why) -> object:
    """Put back what a change replaced, unless something newer stands there."""
    return services.undo(change_id, by=by(request), why=body.why)
