"""The gateway app."""

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    """API tokens, usage records and the data plane."""

    name = "gateway"
    default_auto_field = "django.db.models.BigAutoField"
