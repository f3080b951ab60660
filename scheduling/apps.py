"""The scheduling app."""

from django.apps import AppConfig


class SchedulingConfig(AppConfig):
    """Tenants, pools, backends and the rules between them."""

    name = "scheduling"
    default_auto_field = "django.db.models.BigAutoField"
