"""Celery's doors into the scheduling app; each only knocks on a service."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from scheduling import controller, readings


@shared_task(ignore_result=True, expires=float(settings.KNOBS["FAIRLANE_POLL_EVERY_S"]))
def poll_backends() -> None:
    """Read every backend's metrics once and move its limit.

    Expires after one period: a late reading is worth less than the next.
    """
    controller.tick()


@shared_task(ignore_result=True)
def forget_old_readings() -> None:
    """Delete the backends' history that is older than readings.KEEP."""
    readings.forget_old()
