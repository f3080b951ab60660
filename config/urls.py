"""Routes of the console role. The data plane under /v1 never comes here (see asgi.py)."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from gateway.api.urls import api

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/", api.urls),
    path("", include("dashboard.urls")),
]
