"""Celery's doors into the gateway app; each only knocks on a service."""

from __future__ import annotations

from celery import shared_task
from celery.signals import worker_shutting_down
from django.conf import settings
from django.utils import timezone

from gateway import demo, demo_run, retention, totals

DEMO_LIMIT_S = 300  # well past the longest demo


@shared_task(ignore_result=True, time_limit=DEMO_LIMIT_S)
def run_demo_traffic(model: str, until_s: float) -> None:
    """One greedy tenant and two quiet ones, until told to stop or ``until_s`` (Unix time)."""
    demo_run.run(model, until_s)


@shared_task(ignore_result=True)
def sum_up_usage() -> None:
    """Add what was recorded lately to the sums by hour and day."""
    totals.fold()


@shared_task(ignore_result=True)
def tend_usage_records() -> None:
    """Make the months to come, and drop records older than FAIRLANE_RECORD_DAYS."""
    retention.tend(timezone.now(), int(settings.KNOBS["FAIRLANE_RECORD_DAYS"]))


@worker_shutting_down.connect
def end_demo_traffic(**_told: object) -> None:
    """A worker that stops waits for its tasks: let this one end at once."""
    demo.stop()
