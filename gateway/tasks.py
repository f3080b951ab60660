"""Celery's doors into the gateway app; each only knocks on a service."""

from __future__ import annotations

from celery import shared_task

from gateway import demo_run

DEMO_LIMIT_S = 300  # well past the longest demo


@shared_task(ignore_result=True, time_limit=DEMO_LIMIT_S)
def run_demo_traffic(model: str, until_s: float) -> None:
    """One greedy tenant and two quiet ones, until told to stop or ``until_s`` (Unix time)."""
    demo_run.run(model, until_s)
