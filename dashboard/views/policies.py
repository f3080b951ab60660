"""How each pool shares and admits."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import messages
from django.forms.models import model_to_dict
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from dashboard.forms import PolicyForm
from dashboard.pages import attempt, back, by, editing, page, viewing
from scheduling import selectors, services


@viewing
def policies(request: HttpRequest) -> HttpResponse:
    """Every pool's policy as a form."""
    return _page(request)


@editing
def change_policy(request: HttpRequest, pool: str) -> HttpResponse:
    """Save a pool's policy; it holds from the next dispatch on."""
    row = get_object_or_404(selectors.policies(), pool__name=pool)
    form = _form(row, request.POST)
    if not form.is_valid():
        return _page(request, form)
    if error := attempt(request, partial(services.set_policy, pool, by=by(request), **form.cleaned_data)):
        messages.error(request, error)
    return back(request, "policies")


def _page(request: HttpRequest, refused: PolicyForm | None = None) -> HttpResponse:
    forms = [
        (row.pool.name, refused if refused and refused.prefix == row.pool.name else _form(row))
        for row in selectors.policies()
    ]
    status = 422 if refused else 200
    return page(request, "dashboard/policies.html", status=status, forms=forms, classes=selectors.classes())


def _form(row: Any, data: Any = None) -> PolicyForm:
    return PolicyForm(data, initial=model_to_dict(row), prefix=row.pool.name)
