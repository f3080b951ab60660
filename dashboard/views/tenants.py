"""Tenants: list, create, weight, settings, suspension."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone

from dashboard.boards import tenants as board_of_tenants
from dashboard.forms import BoostForm, ConsoleForm, QuotaForm, TenantForm, TenantSettingsForm
from dashboard.pages import attempt, back, by, editing, live_page, page, row_answer, viewing
from dashboard.sources import read_now
from dashboard.topics import Topic, board_of, listed_tenants
from gateway import selectors as gateway_selectors
from scheduling import selectors, services
from scheduling.core.policy import BUDGET_KINDS, MINUTE_KINDS

WEIGHT_ERROR = "Weight is a whole number from 1 to 1000."
RECENT_CHANGES = 20
COUNTED = (*MINUTE_KINDS, *BUDGET_KINDS)
STATES = {"active": services.resume_tenant, "paused": services.pause_tenant}


@viewing
def tenants(request: HttpRequest) -> HttpResponse:
    """All tenants, a hundred a page, with a search by slug."""
    scene = read_now()
    search = request.GET.get("q", "").strip()
    slugs = listed_tenants(scene, search)
    last = max(1, -(-len(slugs) // board_of_tenants.PAGE_ROWS))
    number = min(last, _number(request.GET.get("page", "")))
    topic = Topic("tenants", search=search, page=number)
    found = {"search": search, "found": len(slugs), "number": number, "last": last}
    return live_page(request, "dashboard/tenants.html", topic, scene, **found)


@viewing
def new_tenant(request: HttpRequest) -> HttpResponse:
    """A form for a new tenant."""
    form = TenantForm(request.POST or None)
    if request.method == "POST":
        made = form.submit(partial(services.create_tenant, by=by(request)))
        if made:
            messages.success(request, f"Tenant {made.slug} created. Now issue an API token for it.")
            return redirect("tenant", made.slug)
    return page(request, "dashboard/new_tenant.html", status=422 if form.errors else 200, form=form)


@viewing
def tenant(request: HttpRequest, slug: str) -> HttpResponse:
    """One tenant: what it does, what it may, its API tokens, its usage, its changes."""
    row = get_object_or_404(selectors.tenants(), slug=slug)
    return _tenant_page(request, row)


@editing
def tenant_settings(request: HttpRequest, slug: str) -> HttpResponse:
    """Save name and class; only what differs is written."""
    row = get_object_or_404(selectors.tenants(), slug=slug)
    form = TenantSettingsForm(request.POST, initial=_settings(row)).changing()
    if not form.is_valid():
        return _tenant_page(request, row, status=422, form=form)
    errors = [
        error
        for name in form.changed_data
        if (error := attempt(request, partial(_SAVE[name], slug, form.cleaned_data[name], by=by(request))))
    ]
    for error in errors:
        messages.error(request, error)
    return back(request, "tenant", slug)


@editing
def tenant_weight(request: HttpRequest, slug: str) -> HttpResponse:
    """Save the weight typed or stepped in a tenant's row; answer with the row."""
    row = get_object_or_404(selectors.tenants(), slug=slug)
    typed = request.POST.get("weight", "")
    error = WEIGHT_ERROR
    if typed.isdecimal() and len(typed) < 5:
        wanted = int(typed) + {"up": 1, "down": -1}.get(request.POST.get("step", ""), 0)
        error = attempt(request, partial(services.set_weight, row.slug, wanted, by=by(request)))
        typed = str(wanted)
    if request.headers.get("HX-Request"):
        return _weight_answer(request, slug, WEIGHT_ERROR if error else "", typed)
    if error:
        messages.error(request, WEIGHT_ERROR)
    return back(request, "tenant", slug)


@editing
def tenant_quota(request: HttpRequest, slug: str) -> HttpResponse:
    """Set one limit of a tenant, or remove it."""
    row = get_object_or_404(selectors.tenants(), slug=slug)
    if gone := request.POST.get("remove"):
        model = request.POST.get("model", "")
        change = partial(services.set_quota, slug, gone, None, model=model, by=by(request))
    else:
        form = QuotaForm(request.POST)
        if not form.is_valid():
            return _tenant_page(request, row, status=422, quota_form=form)
        change = partial(services.set_quota, slug, by=by(request), **form.values())
    if error := attempt(request, change):
        messages.error(request, error)
    return back(request, "tenant", slug)


@editing
def tenant_state(request: HttpRequest, slug: str) -> HttpResponse:
    """Suspend, pause or resume."""
    service = STATES.get(request.POST.get("state", ""), services.suspend_tenant)
    why = request.POST.get("why", "")[:500]
    if error := attempt(request, partial(service, slug, by=by(request), why=why)):
        messages.error(request, error)
    return back(request, "tenant", slug)


@editing
def tenant_boost(request: HttpRequest, slug: str) -> HttpResponse:
    """Boost a tenant for a while, or end its boost."""
    row = get_object_or_404(selectors.tenants(), slug=slug)
    if request.POST.get("end"):
        change = partial(services.end_boost, slug, by=by(request))
    else:
        form = BoostForm(request.POST)
        if not form.is_valid():
            return _tenant_page(request, row, status=422, boost_form=form)
        change = partial(services.boost_tenant, slug, by=by(request), **form.values())
    if error := attempt(request, change):
        messages.error(request, error)
    return back(request, "tenant", slug)


def _number(text: str) -> int:
    return max(1, int(text)) if text.isdecimal() and len(text) < 7 else 1


def _weight_answer(request: HttpRequest, slug: str, error: str, typed: str) -> HttpResponse:
    """The row as the page that asked shows it: a pool's queue, or the tenants' list."""
    scene = read_now()
    if pool := request.POST.get("pool", ""):
        board, row_id = board_of(Topic("queue", pool), scene), f"q-{slug}"
    else:
        board = board_of_tenants.build(scene.policy, scene.picture, [slug], scene.moment.now_s)
        row_id = f"t-{slug}"
    return row_answer(request, board, row_id, error=error, typed=typed)


def _tenant_page(request: HttpRequest, row: Any, *, status: int = 200, **forms: ConsoleForm) -> HttpResponse:
    now = timezone.now()
    day = gateway_selectors.Span(now - timedelta(days=1), now + timedelta(minutes=1), tenant=row.slug)
    fresh = {
        "form": TenantSettingsForm(initial=_settings(row)).changing(),
        "quota_form": QuotaForm(),
        "boost_form": BoostForm(),
    }
    context = {
        "tenant": row,
        **(fresh | forms),
        "boosted": row.boost_until is not None and now < row.boost_until,
        "quotas": _quotas(row),
        "api_tokens": gateway_selectors.api_tokens(row.slug).filter(revoked_at=None),
        "usage": gateway_selectors.usage(day, by=("model",)),
        "changes": selectors.changes_of(row.slug)[:RECENT_CHANGES],
    }
    response = live_page(request, "dashboard/tenant.html", Topic("tenant", row.slug), read_now(), **context)
    response.status_code = status
    return response


def _settings(row: Any) -> dict[str, Any]:
    return {"name": row.name, "priority_class": row.priority_class.name}


def _quotas(row: Any) -> list[dict[str, Any]]:
    """A tenant's limits and what was used of them, its own first."""
    rows = sorted(row.quotas.all(), key=lambda each: (each.model.name if each.model else "", each.kind))
    use = gateway_selectors.tenant_use(row) if rows else {}
    return [_quota(each, use[each.model.name if each.model else ""]) for each in rows]


def _quota(row: Any, use: Mapping[str, int]) -> dict[str, Any]:
    used = use.get(row.kind, 0) if row.kind in COUNTED else None
    return {
        "kind": row.kind,
        "model": row.model.name if row.model else "",
        "limit": row.limit,
        "waits": row.waits,
        "choice": row.kind in MINUTE_KINDS,
        "used": used,
        "left": None if used is None else max(0, row.limit - used),
    }


_SAVE: dict[str, Any] = {"name": services.rename_tenant, "priority_class": services.set_class}
