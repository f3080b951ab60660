"""Who changed what, and the way back."""

from __future__ import annotations

from functools import partial

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse

from dashboard.pages import attempt, back, by, editing, page, viewing
from scheduling import selectors, services

PAGE_ROWS = 50
FILTERS = ("noun", "target", "by")


@viewing
def audit(request: HttpRequest) -> HttpResponse:
    """All changes, newest first; the filter is in the address."""
    wanted = {name: request.GET.get(name, "").strip() for name in FILTERS}
    rows = selectors.changes()
    if wanted["noun"]:
        rows = rows.filter(noun=wanted["noun"])
    if wanted["target"]:
        rows = rows.filter(target__icontains=wanted["target"])
    if wanted["by"]:
        rows = rows.filter(by__icontains=wanted["by"])
    shown = Paginator(rows, PAGE_ROWS).get_page(request.GET.get("page"))
    return page(
        request,
        "dashboard/audit.html",
        wanted=wanted,
        nouns=selectors.changes().order_by("noun").values_list("noun", flat=True).distinct(),
        changes=[(change, services.reversible(change)) for change in shown],
        shown=shown,
    )


@editing
def undo(request: HttpRequest, change_id: int) -> HttpResponse:
    """Put back what a change replaced."""
    if error := attempt(request, partial(services.undo, change_id, by=by(request))):
        messages.error(request, error)
    return back(request, "audit")
