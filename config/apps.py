"""The commands that know everybody live in this app; it has no tables."""

from __future__ import annotations

import importlib

from django.apps import AppConfig


class ProductConfig(AppConfig):
    """Gives `manage.py` its commands."""

    name = "config"
    verbose_name = "Fairlane"

    def ready(self) -> None:
        """Make our Celery app the current one: tasks that anybody sends must go to our broker."""
        importlib.import_module("config.celery")
