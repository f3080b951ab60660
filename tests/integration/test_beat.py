"""The only schedule: beat sends, a worker of the control queue reads, the limit appears."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from celery import current_app
from django.conf import settings

from config.celery import CONTROL, JOBS, app, beat_table
from scheduling import control_bus, services, tasks
from scheduling.control_feed import ALONE_AFTER_PERIODS
from tests.fakes.pages import page_engine, vllm_page
from tests.fakes.what_if import play_until
from tests.fakes.workers import CONTROL_WORKER, JOBS_WORKER, beat, celery

PATIENCE_S = 30.0
PERIOD_S = 1.0  # as it is by default
BY = "admin:ada"


@pytest.fixture
def schedule(valkey, tmp_path):
    """A beat and a control worker."""
    with celery(tmp_path, CONTROL_WORKER, beat(tmp_path)) as logs:
        yield logs


@pytest.fixture
def engine():
    """A backend of a pool, which notes when it is read."""
    with page_engine() as engine:
        engine.page = vllm_page(running=2, waiting=1)
        services.create_pool("main", by=BY)
        services.create_backend("gpu-0", "main", engine.url, by=BY, max_in_flight=16)
        yield engine


def wait_for(true) -> None:
    ends_s = time.monotonic() + PATIENCE_S
    while not true() and time.monotonic() < ends_s:
        time.sleep(0.05)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_the_schedule_reads_the_engines_and_a_limit_appears(valkey, engine, schedule) -> None:
    wait_for(lambda: len(engine.requests) >= 3)

    assert len(engine.requests) >= 3, "\n".join(log.read_text() for log in schedule)
    state = control_bus.load_states(valkey)["gpu-0"]
    assert (state.running, state.waiting, state.given_window, state.given_cap) == (2, 1, 3, 16)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_running_what_if_delays_no_reading(valkey, engine, tmp_path) -> None:
    begun, end = [tmp_path / "begun-0", tmp_path / "begun-1"], tmp_path / "end"
    jobs = (*JOBS_WORKER, "--include", "tests.fakes.what_if")
    read_at_s: list[float] = []

    def answer(handler) -> None:
        read_at_s.append(time.monotonic())
        handler.say(engine.page)

    engine.answer = answer
    with celery(tmp_path, CONTROL_WORKER, beat(tmp_path), jobs, every_s=PERIOD_S):
        for n in range(8):  # two for its two processes, and a queue behind them
            play_until.apply_async((str(begun[n % 2]), str(end)))
        wait_for(lambda: all(one.exists() for one in begun) and read_at_s)
        began_s, backlog = time.monotonic(), valkey.llen("fairlane:celery:jobs")
        wait_for(lambda: sum(at_s > began_s for at_s in read_at_s) >= 8)
        end.touch()

    during = [at_s for at_s in read_at_s if at_s > began_s]
    gaps = [after - before for before, after in pairwise(during)]
    assert backlog > 0, "more what-ifs wait than the worker can run"
    assert len(during) >= 8
    assert max(gaps) < ALONE_AFTER_PERIODS * PERIOD_S, "no gateway would take the controller for dead"


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
