"""The dashboard app."""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    """Pages, live frames and forms of the console."""

    name = "dashboard"
