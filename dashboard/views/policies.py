"""How each pool shares and admits."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.forms.models import model_to_dict
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from dashboard.engine_forms import PolicyForm
from dashboard.pages import back, by, editing, made, page, viewing
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
    save = partial(services.set_policy, pool, by=by(request))
    if not form.submit(lambda **fields: made(request, partial(save, **fields))):
        return _page(request, form)
    return back(request, "policies")


def _page(request: HttpRequest, refused: PolicyForm | None = None) -> HttpResponse:
    forms = [
        (row.pool.name, refused if refused and refused.prefix == row.pool.name else _form(row))
        for row in selectors.policies()
    ]
    status = 422 if refused else 200
    return page(request, "dashboard/policies.html", status=status, forms=forms, classes=selectors.classes())


def _form(row: Any, data: Any = None) -> PolicyForm:
    return PolicyForm(data, initial=model_to_dict(row), prefix=row.pool.name).changing()
