"""API tokens: list, issue, revoke. A secret is shown once."""

from __future__ import annotations

from functools import partial

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache

from dashboard.forms import TokenForm
from dashboard.pages import attempt, back, by, editing, page, viewing
from gateway import selectors, services
from scheduling import selectors as rules

PAGE_ROWS = 100
EXPIRED, REVOKED, IN_FORCE = "expired", "revoked", "in force"


@never_cache
@viewing
def tokens(request: HttpRequest) -> HttpResponse:
    """All API tokens, and a form for a new one; a new one's secret is in the answer alone."""
    tenant = request.GET.get("tenant", "")
    form = TokenForm(request.POST or None, initial={"tenant": tenant})
    if request.method == "POST" and (issued := form.submit(partial(services.issue_token, by=by(request)))):
        return _issued(request, issued)
    rows = selectors.api_tokens(tenant)
    if not request.GET.get("all"):
        rows = rows.filter(revoked_at=None)
    return page(
        request,
        "dashboard/tokens.html",
        status=422 if form.errors else 200,
        form=form,
        tenant=tenant,
        shows_all=bool(request.GET.get("all")),
        tokens=Paginator(rows, PAGE_ROWS).get_page(request.GET.get("page")),
        has_tenants=rules.tenants().exists(),
        now=timezone.now(),
    )


@editing
def revoke_token(request: HttpRequest, token_id: int) -> HttpResponse:
    """Refuse an API token from now on."""
    if error := attempt(request, partial(services.revoke_token, token_id, by=by(request))):
        messages.error(request, error)
    return back(request, "tokens")


def _issued(request: HttpRequest, issued: services.IssuedToken) -> HttpResponse:
    model = rules.served_models().first()
    return page(
        request,
        "dashboard/issued_token.html",
        issued=issued,
        secret=issued.secret,
        first_model=model.name if model else "your-model",
        base_url=request.build_absolute_uri("/v1"),
    )
