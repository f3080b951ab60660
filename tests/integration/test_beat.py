"""The only schedule: beat sends, a worker of the control queue reads, the limit appears."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from celery import current_app
from django.conf import settings
from django.db import connection

from config.celery import CONTROL, JOBS, app, beat_table
from scheduling import control_bus, services, tasks
from tests.fakes.pages import page_engine, vllm_page

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0
BY = "admin:ada"


def celery(*arguments: str, log: Path) -> subprocess.Popen[bytes]:
    """A Celery process on the tests' own database and Valkey."""
    database = connection.settings_dict
    url = f"postgres://{database['USER']}@{quote(str(database['HOST']), safe='')}/{database['NAME']}"
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "config.celery", *arguments],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": url, "FAIRLANE_POLL_EVERY_S": "0.2"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


@pytest.fixture
def schedule(valkey, tmp_path):
    """A beat and a control worker; both end as `serve` ends them."""
    logs = [tmp_path / "worker.log", tmp_path / "beat.log"]
    processes = [
        celery(
            "worker",
            "-P",
            "threads",
            "-c",
            "2",
            "-Q",
            CONTROL,
            "--without-gossip",
            "--without-mingle",
            log=logs[0],
        ),
        celery("beat", "-s", str(tmp_path / "schedule"), "--pidfile=", log=logs[1]),
    ]
    yield logs
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process, log in zip(processes, logs, strict=True):
        assert process.wait(20) == 0, log.read_text()


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_the_schedule_reads_the_engines_and_a_limit_appears(valkey, schedule) -> None:
    with page_engine() as engine:
        engine.page = vllm_page(running=2, waiting=1)
        services.create_pool("main", by=BY)
        services.create_backend("gpu-0", "main", engine.url, by=BY, max_in_flight=16)
        ends_s = time.monotonic() + PATIENCE_S
        while len(engine.requests) < 3 and time.monotonic() < ends_s:
            time.sleep(0.05)
        read = len(engine.requests)

    assert read >= 3, "\n".join(log.read_text() for log in schedule)
    state = control_bus.load_states(valkey)["gpu-0"]
    assert (state.running, state.waiting, state.given_window, state.given_cap) == (2, 1, 3, 16)


def test_every_scheduled_task_exists_and_has_a_queue() -> None:
    app.loader.import_default_modules()

    for line in beat_table(1.0).values():
        assert line["task"] in app.tasks
        assert line["options"]["queue"] in {CONTROL, JOBS}


def test_a_late_reading_is_dropped() -> None:
    assert tasks.poll_backends.expires == settings.KNOBS["FAIRLANE_POLL_EVERY_S"]
    assert tasks.poll_backends.ignore_result


def test_shared_tasks_go_to_our_broker() -> None:
    assert current_app.conf.broker_url == settings.CELERY_BROKER_URL
