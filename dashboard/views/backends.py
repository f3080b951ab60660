"""Backends, the models they serve, and their pools."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone

from dashboard import charts
from dashboard.engine_forms import BackendForm, ModelForm, PoolForm
from dashboard.forms import ConsoleForm
from dashboard.pages import attempt, back, by, editing, live_page, page, viewing
from dashboard.route_forms import route_forms
from dashboard.sources import read_now
from dashboard.topics import Topic
from scheduling import selectors, services
from scheduling.services.backends import PLAIN_FIELDS

FACTS = (
    ("law", "Law"),
    ("reason", "Reason"),
    ("cap", "Most in flight"),
    ("capacity", "Most seen running at once"),
    ("memory", "KV memory"),
    ("circuit", "Circuit"),
    ("read", "Last good reading"),
    ("signal", "Last one with the law's signal"),
    ("stale", "When stale"),
)
CHART_SPAN = timedelta(minutes=15)


@viewing
def backends(request: HttpRequest) -> HttpResponse:
    """All backends with their gates and signals."""
    return listing(request)


@viewing
def new_backend(request: HttpRequest) -> HttpResponse:
    """A form for a new backend."""
    form = BackendForm(request.POST or None)
    if request.method == "POST" and form.submit(partial(services.create_backend, by=by(request))):
        messages.success(request, f"Backend {form.cleaned_data['name']} added.")
        return redirect("backend", form.cleaned_data["name"])
    has_pools = selectors.pools().exists()
    status = 422 if form.errors else 200
    return page(request, "dashboard/new_backend.html", status=status, form=form, has_pools=has_pools)


@viewing
def backend(request: HttpRequest, name: str) -> HttpResponse:
    """One backend: its chart and its settings."""
    row = get_object_or_404(selectors.backends(), name=name)
    form = BackendForm(request.POST or None, initial=_settings(row)).changing(but="name")
    if request.method == "POST" and form.submit(partial(services.change_backend, by=by(request))):
        messages.success(request, f"Backend {name} saved.")
        return redirect("backend", name)
    response = live_page(
        request,
        "dashboard/backend.html",
        Topic("backend", name),
        read_now(),
        backend=row,
        form=form,
        facts=FACTS,
        **_history(name),
    )
    response.status_code = 422 if form.errors else 200
    return response


@viewing
def backend_chart(request: HttpRequest, name: str) -> HttpResponse:
    """Only the chart, which its page asks for again every few seconds."""
    row = get_object_or_404(selectors.backends(), name=name)
    return page(request, "dashboard/partials/backend_chart.html", backend=row, **_history(name))


@editing
def backend_state(request: HttpRequest, name: str) -> HttpResponse:
    """Drain or resume."""
    service = services.resume_backend if request.POST.get("state") == "open" else services.drain_backend
    if error := attempt(request, partial(service, name, by=by(request))):
        messages.error(request, error)
    return back(request, "backends")


@editing
def new_pool(request: HttpRequest) -> HttpResponse:
    """Make a pool."""
    form = PoolForm(request.POST)
    if form.submit(partial(services.create_pool, by=by(request))):
        messages.success(request, f"Pool {form.cleaned_data['name']} created.")
        return redirect("backends")
    return listing(request, pool_form=form)


@editing
def new_model(request: HttpRequest) -> HttpResponse:
    """Let clients ask for a model."""
    form = ModelForm(request.POST)
    if form.submit(partial(services.create_model, by=by(request))):
        messages.success(request, f"Model {form.cleaned_data['name']} is served.")
        return redirect("backends")
    return listing(request, model_form=form)


def listing(request: HttpRequest, **forms: ConsoleForm | list[ConsoleForm]) -> HttpResponse:
    """The page of all backends, models and aliases; with forms that were refused, as a 422."""
    context: dict[str, Any] = {
        "pool_form": PoolForm(prefix=None),
        "model_form": ModelForm(),
        **route_forms(),
        **forms,
    }
    response = live_page(
        request, "dashboard/backends.html", Topic("backends"), read_now(), pools=selectors.pools(), **context
    )
    response.status_code = 422 if forms else 200
    return response


def _history(name: str) -> dict[str, Any]:
    readings = list(selectors.readings(name, timezone.now() - CHART_SPAN))
    return {"chart": charts.limits(readings), "moves": charts.moves(readings)}


def _settings(row: Any) -> dict[str, Any]:
    return {
        "name": row.name,
        "pool": row.pool.name,
        "url": row.url,
        **{name: getattr(row, name) for name in PLAIN_FIELDS},
        "models": ", ".join(model.name for model in row.served_models.all()),
        "ca_pem": row.ca_pem,
    }
