"""Routes of the console role. The data plane under /v1 never comes here (see asgi.py)."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path, re_path

from gateway.api.docs import data_plane_document, data_plane_page
from gateway.api.problems import nothing_here
from gateway.api.urls import api

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/data-plane/docs", data_plane_page, name="data-plane-docs"),
    path("api/v1/data-plane/openapi.json", data_plane_document),
    path("api/v1/", api.urls),
    re_path("^api/v1/", nothing_here),  # a line break in an address, which no pattern above has
    path("", include("dashboard.urls")),
]
