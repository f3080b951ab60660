"""The pages that show the OpenAPI documents, from our own files alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from ninja import NinjaAPI
from ninja.openapi.docs import DocsBase

from gateway import openapi


class LocalDocs(DocsBase):
    """Swagger UI as it comes with Ninja, without an inline script or style."""

    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        """The page."""
        return _page(request, self.get_openapi_url(api, kwargs), api.title)


@require_safe
def data_plane_page(request: HttpRequest) -> HttpResponse:
    """The data plane's document as a page, on the console's port.

    Where that is not the port of /v1, a request tried out here would miss it, so none is offered.
    """
    none: dict[str, Any] = (
        {"supportedSubmitMethods": []} if os.environ.get("FAIRLANE_ROLE") == "console" else {}
    )
    return _page(request, "openapi.json", str(openapi.document()["info"]["title"]), none)


@require_safe
def data_plane_document(_request: HttpRequest) -> HttpResponse:
    """What the gateway serves at /v1/openapi.json."""
    return HttpResponse(openapi.as_json(), content_type="application/json")


def _page(request: HttpRequest, url: str, title: str, more: Mapping[str, Any] | None = None) -> HttpResponse:
    settings = {"url": url, "layout": "BaseLayout", "deepLinking": True, **(more or {})}
    return render(request, "api/docs.html", {"settings": json.dumps(settings), "title": title})
