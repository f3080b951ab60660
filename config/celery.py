"""The Celery app: two queues, and the beat table, which is the only schedule."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.schedules import crontab
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

CONTROL = "control"  # polling and reaping only, so that nothing delays them (threads)
JOBS = "jobs"  # everything that may take long (prefork)
SUM_UP_EVERY_S = 60.0  # sums are exact without it; it only keeps what they read short
TEND_EVERY_S = 6 * 3600.0
BATCHES_EVERY_S = 2.0  # how soon a new batch, or one whose worker died, is taken up


def beat_table(poll_every_s: float) -> dict[str, dict[str, Any]]:
    """What runs when, and in which queue."""
    return {
        "read the engines": {
            "task": "scheduling.tasks.poll_backends",
            "schedule": poll_every_s,
            "options": {"queue": CONTROL},
        },
        "forget old readings": {
            "task": "scheduling.tasks.forget_old_readings",
            "schedule": crontab(hour=3, minute=10),
            "options": {"queue": JOBS, "expires": 3600},
        },
        "sum up usage": {
            "task": "gateway.tasks.sum_up_usage",
            "schedule": SUM_UP_EVERY_S,
            "options": {"queue": JOBS, "expires": SUM_UP_EVERY_S},
        },
        "tend usage records": {
            "task": "gateway.tasks.tend_usage_records",
            "schedule": TEND_EVERY_S,  # and not at night: a machine that is off then must not miss it
            "options": {"queue": JOBS, "expires": TEND_EVERY_S},
        },
        "run batches": {
            "task": "gateway.tasks.run_batches",
            "schedule": BATCHES_EVERY_S,
            "options": {"queue": JOBS, "expires": BATCHES_EVERY_S},
        },
        "forget old files": {
            "task": "gateway.tasks.forget_old_files",
            "schedule": crontab(minute=20),
            "options": {"queue": JOBS, "expires": 3600},
        },
    }


app = Celery("fairlane")
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # the broker may be away for hours; gateways go on without it
    broker_transport_options={"global_keyprefix": "fairlane:celery:"},
    task_default_queue=JOBS,
    task_ignore_result=True,
    task_routes={"scheduling.tasks.poll_backends": {"queue": CONTROL}},
    task_serializer="json",
    accept_content=["json"],
    timezone="UTC",
    worker_hijack_root_logger=False,  # settings.LOGGING holds
    worker_prefetch_multiplier=1,
    beat_schedule=beat_table(float(settings.KNOBS["FAIRLANE_POLL_EVERY_S"])),
    beat_schedule_filename=str(settings.DATA_DIR / "celerybeat-schedule"),
)
app.autodiscover_tasks(["scheduling", "gateway"])
