"""Celery's doors into the gateway app; each only knocks on a service."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from celery.signals import worker_shutting_down
from django.conf import settings
from django.utils import timezone

from gateway import demo, demo_run, retention, totals
from gateway.batches import runner
from gateway.batches import services as batches

DEMO_LIMIT_S = 300  # well past the longest demo
NEXT_SLICE_LIFE_S = 2  # whoever waits longer is behind other jobs, and the schedule asks again


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


@shared_task(ignore_result=True)
def run_batches() -> None:
    """One slice of the batch that is due; then whatever else waits has its turn before the next slice."""
    if runner.run_slice():
        run_batches.apply_async(expires=NEXT_SLICE_LIFE_S)


@shared_task(ignore_result=True)
def forget_old_files() -> None:
    """Delete files and ended batches that are older than FAIRLANE_FILE_KEEP_S."""
    batches.forget_old(timezone.now(), timedelta(seconds=float(settings.KNOBS["FAIRLANE_FILE_KEEP_S"])))


@worker_shutting_down.connect
def end_slices(**_told: object) -> None:
    """A worker that stops waits for its tasks: a batch goes on where it was with the next worker."""
    runner.stop()


@worker_shutting_down.connect
def end_demo_traffic(**_told: object) -> None:
    """A worker that stops waits for its tasks: let this one end at once."""
    demo.stop()
