"""Routes of the console role. The data plane under /v1 never comes here (see asgi.py)."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
