"""The connect test: what is at an address, before or after it becomes a backend."""

from __future__ import annotations

from dataclasses import replace

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString

from dashboard.engine_forms import BackendForm
from dashboard.pages import editing
from scheduling import selectors, services
from scheduling.engines import connect
from scheduling.engines.connect import ConnectReport
from scheduling.engines.endpoint import Endpoint

UNKNOWN = ("", "openai")  # nobody answered, or an engine that cannot be told from others
REPORT = "dashboard/partials/connect_report.html"


@editing
def connect_test(request: HttpRequest) -> HttpResponse:
    """Look at the engine that the form names, and fill in which one it is."""
    try:
        endpoint = _endpoint(request)
    except ValidationError as error:
        return render(request, REPORT, {"error": " ".join(error.messages)})
    report = connect.test(endpoint)
    chosen = request.POST.get("engine", "")
    fill = "" if report.engine in (*UNKNOWN, chosen) else _select(report.engine)
    return render(request, REPORT, {"report": report, "headline": _headline(report), "fill": fill})


def _endpoint(request: HttpRequest) -> Endpoint:
    """Where the form says it is, with the stored API key where none was typed. Raises ValidationError."""
    url = services.checked_url(request.POST.get("url", "").strip())
    name = request.POST.get("name", "")
    stored = selectors.endpoints().get(name, Endpoint(name, url))
    return replace(
        stored,
        url=url,
        engine=connect.DETECT,
        api_key=request.POST.get("api_key") or stored.api_key,
        ca_pem=request.POST.get("ca_pem", ""),
    )


def _headline(report: ConnectReport) -> str:
    if report.ok:
        return f"{report.engine} answers, and tells all that is asked of it."
    failed = next(step for step in report.steps if not step.ok)
    return f"It stops at {failed.name}." if not report.engine else f"{report.engine} answers, but look here."


def _select(engine: str) -> SafeString:
    """The form's choice of engine with this one chosen, for htmx to put in its place."""
    return BackendForm(initial={"engine": engine})["engine"].as_widget(attrs={"hx-swap-oob": "true"})
