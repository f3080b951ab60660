"""The commands that know everybody live in this app; it has no tables."""

from __future__ import annotations

from django.apps import AppConfig


class ProductConfig(AppConfig):
    """Gives `manage.py` its commands."""

    name = "config"
    verbose_name = "Fairlane"
