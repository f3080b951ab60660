"""Batches: all of them, one of them, and the way to cancel one."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone

from dashboard.pages import attempt, back, by, editing, page, viewing
from gateway.batches import selectors, services

PAGE_ROWS = 50
SHOWN_ERRORS = 20


@viewing
def batches(request: HttpRequest) -> HttpResponse:
    """All batches, newest first, or one tenant's."""
    return page(request, "dashboard/batches.html", **_list(request))


@viewing
def batch_list(request: HttpRequest) -> HttpResponse:
    """Only the table, which its page asks for again every two seconds."""
    return page(request, "dashboard/partials/batch_list.html", **_list(request))


@viewing
def batch(request: HttpRequest, public_id: str) -> HttpResponse:
    """One batch."""
    return page(request, "dashboard/batch.html", **_one(public_id))


@viewing
def batch_now(request: HttpRequest, public_id: str) -> HttpResponse:
    """How one batch stands, which its page asks for again every two seconds while it runs."""
    context = _one(public_id)
    response = page(request, "dashboard/partials/batch_now.html", **context)
    if not context["batch"].is_open:
        response["HX-Refresh"] = "true"  # it has ended: the whole page says so, and asks no more
    return response


@editing
def cancel_batch(request: HttpRequest, public_id: str) -> HttpResponse:
    """Send no more of a batch's requests."""
    why = request.POST.get("why", "")[:500]
    if error := attempt(request, partial(services.cancel_batch, public_id, by=by(request), why=why)):
        messages.error(request, error)
    return back(request, "batch", public_id)


def _list(request: HttpRequest) -> dict[str, Any]:
    tenant = request.GET.get("tenant", "").strip().replace("\0", "")
    rows = Paginator(selectors.batches(tenant), PAGE_ROWS).get_page(request.GET.get("page"))
    return {"batches": rows, "tenant": tenant, "now": timezone.now()}


def _one(public_id: str) -> dict[str, Any]:
    row = get_object_or_404(selectors.batches(), public_id=public_id)
    return {"batch": row, "faults": row.errors[:SHOWN_ERRORS], "now": timezone.now()}
