"""The first page: a verdict, the figures, and a way in while nothing has happened yet."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from dashboard.pages import live_page, viewing
from dashboard.sources import demo_now, read_now
from dashboard.topics import Topic
from gateway import demo
from gateway import selectors as gateway_selectors
from scheduling import selectors

RECENT_CHANGES = 8
LOOK_BACK = timedelta(days=30)


@viewing
def overview(request: HttpRequest) -> HttpResponse:
    """How things stand."""
    scene = read_now()
    now = timezone.now()
    span = gateway_selectors.Span(now - LOOK_BACK, now + timedelta(minutes=1))
    return live_page(
        request,
        "dashboard/overview.html",
        Topic("overview"),
        scene,
        changes=selectors.changes().exclude(by=demo.BY)[:RECENT_CHANGES],
        untouched=not gateway_selectors.records(span).exists(),
        first_model=min(scene.policy.models, default="your-model"),
        base_url=request.build_absolute_uri("/v1"),
        demo=demo_now(),
    )
