"""Batches as tenants see them: real gateway, real Postgres, a real jobs worker, the simulated engine."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

from gateway.batches.models import Batch, BatchResult
from gateway.models import UsageRecord
from tests.fakes import workers
from tests.fakes.batches import batch_scene, line
from tests.fakes.plane import MODEL, read
from tests.fakes.waiting import until

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

PATIENCE_S = 40.0
QUICK = {"FAIRLANE_BATCH_CLAIM_S": "3", "FAIRLANE_BATCH_IN_FLIGHT_REQUESTS": "4"}


@contextmanager
def jobs_worker(scene, folder: Path, **knobs: str):
    """A jobs worker that runs the scene's batches, and a beat that calls it."""
    folder.mkdir(exist_ok=True)
    told = {**QUICK, "FAIRLANE_GATEWAY_URL": scene.plane.url, **knobs}
    with workers.celery(folder, workers.JOBS_WORKER, workers.beat(folder), knobs=told) as logs:
        yield logs


def kill_all(worker) -> None:
    """SIGKILL for a worker and its children at once: no goodbye to anybody."""
    tasks = Path(f"/proc/{worker.pid}/task")
    children = [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()]
    for pid in (worker.pid, *children):
        os.kill(pid, signal.SIGKILL)
    worker.wait()


async def ended(scene, tenant: str, batch_id: str):
    """The batch once it has its end."""
    batch = None
    async with asyncio.timeout(PATIENCE_S):
        while batch is None or batch.status in Batch.OPEN:
            await asyncio.sleep(0.1)
            batch = await scene.clients[tenant].batches.retrieve(batch_id)
    return batch


async def test_a_batch_is_answered_line_by_line_in_class_batch(valkey, tmp_path):
    asked = [line(f"row-{n}", max_tokens=n % 5 + 1) for n in range(30)]
    bad = line("bad", max_tokens=-1)
    async with batch_scene() as scene:
        with jobs_worker(scene, tmp_path):
            made = await scene.batch("chat", *asked, bad, metadata={"run": "nightly"})
            mail = scene.clients["shop"].batches
            with pytest.raises(openai.NotFoundError) as missing:
                await mail.retrieve(made.id)
            with pytest.raises(openai.NotFoundError):
                await mail.cancel(made.id)
            batch = await ended(scene, "chat", made.id)
        rows = await scene.rows_of("chat", batch.output_file_id)
        failures = await scene.rows_of("chat", batch.error_file_id)
        listed = [each.id async for each in scene.clients["chat"].batches.list(limit=1)]
        others = [each.id async for each in mail.list()]
        with pytest.raises(openai.ConflictError) as too_late:
            await scene.clients["chat"].batches.cancel(made.id)
        await until(lambda: not scene.plane.gateway.books.unsettled)
    records = await read(lambda: list(UsageRecord.objects.filter(tenant="chat")))

    assert (made.status, made.metadata, made.object) == ("validating", {"run": "nightly"}, "batch")
    assert (batch.status, batch.model, batch.errors) == ("completed", MODEL, None)
    assert batch.request_counts.model_dump() == {"total": 31, "completed": 30, "failed": 1}
    assert [row["custom_id"] for row in rows] == [row["custom_id"] for row in asked]
    assert [row["response"]["body"]["usage"]["completion_tokens"] for row in rows] == [
        n % 5 + 1 for n in range(30)
    ]
    assert {row["response"]["status_code"] for row in rows} == {200}
    assert [(row["custom_id"], row["response"]["status_code"], row["error"]) for row in failures] == [
        ("bad", 400, None)
    ]
    assert batch.usage.output_tokens == sum(n % 5 + 1 for n in range(30))
    assert missing.value.code == "batch_not_found"
    assert too_late.value.code == "batch_ended"
    assert (listed, others) == ([made.id], [])
    answered = [record for record in records if record.outcome == "ok"]
    assert len(answered) == 30
    assert {record.priority_class for record in answered} == {"batch"}
    assert not await read(BatchResult.objects.exists)


async def test_a_killed_worker_loses_no_line_and_asks_none_twice_but_those_in_flight(valkey, tmp_path):
    asked = [line(f"row-{n}", max_tokens=60) for n in range(40)]
    async with batch_scene(seats=4, time_scale=8) as scene:
        knobs = {**QUICK, "FAIRLANE_GATEWAY_URL": scene.plane.url, "FAIRLANE_BATCH_SLICE_S": "1"}
        made = await scene.batch("chat", *asked)
        with workers.celery(tmp_path, workers.beat(tmp_path), knobs=knobs):
            worker = workers.started(workers.JOBS_WORKER, tmp_path / "killed.log", knobs)
            async with asyncio.timeout(PATIENCE_S):
                while await read(BatchResult.objects.count) < 10:
                    await asyncio.sleep(0.05)
            kill_all(worker)
            kept = await read(BatchResult.objects.count)
            with jobs_worker(scene, tmp_path / "next"):
                batch = await ended(scene, "chat", made.id)
        rows = await scene.rows_of("chat", batch.output_file_id)
        await until(lambda: not scene.plane.gateway.books.unsettled)
    records = await read(lambda: list(UsageRecord.objects.filter(tenant="chat")))

    assert 10 <= kept < 40
    assert batch.status == "completed"
    assert [row["custom_id"] for row in rows] == [row["custom_id"] for row in asked]
    assert batch.request_counts.completed == 40
    assert 40 <= len(records) <= 40 + 4
