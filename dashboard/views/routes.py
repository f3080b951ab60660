"""Aliases and fallbacks: where requests for a name go."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse

from dashboard.engine_forms import AliasForm, FallbacksForm
from dashboard.forms import ConsoleForm
from dashboard.pages import attempt, back, by, editing, made
from dashboard.route_forms import route_forms
from dashboard.views.backends import listing
from scheduling import services


@editing
def new_alias(request: HttpRequest) -> HttpResponse:
    """Make an alias."""
    form = AliasForm(request.POST, auto_id="alias_%s")
    return _saved(request, form, services.create_alias) or listing(request, new_alias_form=form)


@editing
def change_alias(request: HttpRequest) -> HttpResponse:
    """Shift an alias's weights, or change its targets or fallbacks."""
    form = AliasForm(request.POST, auto_id="refused_%s").changing()
    return _saved(request, form, services.change_alias) or listing(request, **route_forms(form))


@editing
def delete_alias(request: HttpRequest) -> HttpResponse:
    """Stop serving an alias."""
    name = request.POST.get("name", "")
    if error := attempt(request, partial(services.delete_alias, name, by=by(request))):
        messages.error(request, error)
    return back(request, "backends")


@editing
def change_fallbacks(request: HttpRequest) -> HttpResponse:
    """Say who takes over for a model."""
    form = FallbacksForm(request.POST, auto_id="refused_%s")
    return _saved(request, form, services.set_fallbacks) or listing(request, **route_forms(form))


def _saved(request: HttpRequest, form: ConsoleForm, service: Callable[..., Any]) -> HttpResponse | None:
    """The way back once the form's fields are saved; None when something is refused."""
    save = partial(service, by=by(request))
    saved = form.submit(lambda **fields: made(request, partial(save, **fields)))
    return back(request, "backends") if saved else None
