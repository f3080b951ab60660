"""Celery's doors into the gateway app; each only knocks on a service."""

from __future__ import annotations

from celery import shared_task
from celery.signals import worker_shutting_down

from gateway import demo, demo_run

DEMO_LIMIT_S = 300  # well past the longest demo


@shared_task(ignore_result=True, time_limit=DEMO_LIMIT_S)
def run_demo_traffic(model: str, until_s: float) -> None:
    """One greedy tenant and two quiet ones, until told to stop or ``until_s`` (Unix time)."""
    demo_run.run(model, until_s)


@worker_shutting_down.connect
def end_demo_traffic(**_told: object) -> None:
    """A worker that stops waits for its tasks: let this one end at once."""
    demo.stop()
