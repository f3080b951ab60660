"""A batch and the process that runs it: a real jobs worker, a real gateway, the simulated engine."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

from config.celery import JOBS
from gateway.batches.models import Batch, BatchResult
from gateway.models import UsageRecord
from gateway.tasks import run_batches
from tests.fakes import workers
from tests.fakes.batches import batch_scene, line
from tests.fakes.plane import read
from tests.fakes.waiting import until
from tests.fakes.what_if import play_until

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

PATIENCE_S = 60.0
QUICK = {"FAIRLANE_BATCH_CLAIM_S": "3", "FAIRLANE_BATCH_IN_FLIGHT_REQUESTS": "4"}


ONE_PROCESS = ("-c", "1", "--include", "tests.fakes.what_if")


@contextmanager
def jobs_worker(scene, folder: Path, *flags: str, **knobs: str):
    """A jobs worker that runs the scene's batches; ``ended`` calls it as the beat does."""
    folder.mkdir(exist_ok=True)
    line = (*workers.JOBS_WORKER, *flags)
    with workers.celery(folder, line, knobs={**knobs_of(scene), **knobs}) as logs:
        yield logs


def knobs_of(scene) -> dict[str, str]:
    return {**QUICK, "FAIRLANE_GATEWAY_URL": scene.plane.url}


def kill_all(worker) -> None:
    """SIGKILL for a worker and its children at once: no goodbye to anybody."""
    tasks = Path(f"/proc/{worker.pid}/task")
    children = [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()]
    for pid in (worker.pid, *children):
        os.kill(pid, signal.SIGKILL)
    worker.wait()


async def worked(done) -> None:
    """Wait until it is so, and be the beat meanwhile: a call each second, that lives no longer."""
    async with asyncio.timeout(PATIENCE_S):
        for count in itertools.count():
            if await done():
                return
            if count % 10 == 0:
                run_batches.apply_async(queue=JOBS, expires=1)
            await asyncio.sleep(0.1)


async def results(*, more_than: int) -> None:
    """Wait until more lines have their result."""

    async def enough() -> bool:
        return await read(BatchResult.objects.count) > more_than

    await worked(enough)


async def another_job_runs_meanwhile(scene, folder: Path, batch_id: str):
    """The batch at the moment when a job that was sent while it ran has begun."""
    begun, end = folder / "begun", folder / "end"
    end.touch()
    play_until.apply_async((str(begun), str(end)), queue=JOBS)
    async with asyncio.timeout(PATIENCE_S):
        while not begun.exists():
            await asyncio.sleep(0.02)
    return await scene.clients["chat"].batches.retrieve(batch_id)


async def ended(scene, tenant: str, batch_id: str):
    """The batch once it has its end."""
    api = scene.clients[tenant].batches

    async def over() -> bool:
        return (await api.retrieve(batch_id)).status not in Batch.OPEN

    await worked(over)
    return await api.retrieve(batch_id)


async def test_a_killed_worker_loses_no_line_and_a_running_batch_delays_no_other_job(valkey, tmp_path):
    asked = [line(f"row-{n}", max_tokens=60) for n in range(36)]
    async with batch_scene(seats=4, time_scale=3) as scene:
        made = await scene.batch("chat", *asked)
        worker = workers.started(workers.JOBS_WORKER, tmp_path / "killed.log", knobs_of(scene))
        await results(more_than=8)
        kill_all(worker)
        kept = await read(BatchResult.objects.count)
        with jobs_worker(scene, tmp_path, *ONE_PROCESS, FAIRLANE_BATCH_SLICE_S="0.5"):
            await results(more_than=kept)
            between = await another_job_runs_meanwhile(scene, tmp_path, made.id)
            batch = await ended(scene, "chat", made.id)
        rows = await scene.rows_of("chat", batch.output_file_id)
        await until(lambda: not scene.plane.gateway.books.unsettled)
    records = await read(lambda: list(UsageRecord.objects.filter(tenant="chat")))

    assert 8 <= kept < 36
    assert between.status == "in_progress", "the worker's only process was not the batch's alone"
    assert batch.status == "completed"
    assert [row["custom_id"] for row in rows] == [row["custom_id"] for row in asked]
    assert batch.request_counts.completed == 36
    assert 36 <= len(records) <= 36 + 4, "asked twice: at most what was in flight"
