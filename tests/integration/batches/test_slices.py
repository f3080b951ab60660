"""What one slice of a batch does, in this process: real gateway, real Postgres, the simulated engine."""

from __future__ import annotations

import asyncio

import httpx2 as httpx
import openai
import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from gateway import services as gateway_services
from gateway.batches import runner
from gateway.batches.models import Batch, BatchResult
from gateway.models import ApiToken, UsageRecord
from scheduling import services as scheduling
from tests.fakes.batches import CHAT, batch_scene, line
from tests.fakes.plane import MODEL, read
from tests.fakes.waiting import until

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

SLOW = {"max_tokens": 60}


@pytest.fixture
def knobs(monkeypatch):
    """The knobs, quick, to be changed further."""
    quick = {"FAIRLANE_BATCH_IN_FLIGHT_REQUESTS": 4, "FAIRLANE_BATCH_SLICE_S": 30.0}
    monkeypatch.setattr(settings, "KNOBS", {**settings.KNOBS, **quick})
    return settings.KNOBS


async def slices(scene, knobs, most: int = 20) -> None:
    """Run slices until none is due."""
    knobs["FAIRLANE_GATEWAY_URL"] = scene.plane.url
    for _ in range(most):
        if not await asyncio.to_thread(one_slice):
            return


def one_slice() -> bool:
    """In a thread of its own, as a worker's process is."""
    try:
        return runner.run_slice()
    finally:
        connection.close()


async def post(scene, body, tenant="chat") -> dict:
    """The error that a batch gets."""
    word = {"authorization": f"Bearer {scene.secrets[tenant]}"}
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{scene.plane.url}/v1/batches", json=body, headers=word)
    return answer.json()["error"]


async def ask(scene, tenant: str, priority_class: str) -> str:
    """One chat request of this class; its text."""
    answer = await scene.clients[tenant].chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Hello"}],
        max_tokens=2,
        extra_headers={"x-priority-class": priority_class},
    )
    return answer.choices[0].message.content


async def begun(batch_id: str, results: int = 1) -> None:
    """Wait until a batch has so many results."""
    async with asyncio.timeout(20):
        while await read(BatchResult.objects.filter(batch__public_id=batch_id).count) < results:
            await asyncio.sleep(0.02)


async def test_a_batch_is_answered_line_by_line_in_class_batch(valkey, knobs):
    asked = [line(f"row-{n}", max_tokens=n % 5 + 1) for n in range(30)]
    bad = line("bad", max_tokens=-1)
    async with batch_scene() as scene:
        made = await scene.batch("chat", *asked, bad, metadata={"run": "nightly"})
        others = scene.clients["shop"].batches
        with pytest.raises(openai.NotFoundError) as missing:
            await others.retrieve(made.id)
        with pytest.raises(openai.NotFoundError):
            await others.cancel(made.id)
        await slices(scene, knobs)
        batch = await scene.clients["chat"].batches.retrieve(made.id)
        rows = await scene.rows_of("chat", batch.output_file_id)
        failures = await scene.rows_of("chat", batch.error_file_id)
        listed = [each.id async for each in scene.clients["chat"].batches.list(limit=1)]
        theirs = [each.id async for each in others.list()]
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
    assert (listed, theirs) == ([made.id], [])
    answered = [record for record in records if record.outcome == "ok"]
    assert len(answered) == 30
    assert {record.priority_class for record in answered} == {"batch"}
    assert not await read(BatchResult.objects.exists)


async def test_a_bad_file_fails_with_every_fault_by_its_line(valkey, knobs):
    rows = [
        line("good"),
        line("good"),
        line("url", url="/v1/embeddings"),
        line("method", method="GET"),
        line("model", model="unknown"),
        line("stream", stream=True),
        line(""),
        {"custom_id": "no body"},
    ]
    async with batch_scene("chat") as scene:
        api = scene.clients["chat"]
        made = await scene.batch("chat", *rows)
        text = await api.files.create(file=("a.jsonl", b"{not json\n[1]\n"), purpose="batch")
        empty = await api.files.create(file=("b.jsonl", b"\n\n"), purpose="batch")
        others = [
            await api.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
            for file in (text, empty)
        ]
        await slices(scene, knobs)
        found = [await api.batches.retrieve(each.id) for each in (made, *others)]

    told = [[(error.line, error.code) for error in batch.errors.data] for batch in found]
    assert {batch.status for batch in found} == {"failed"}
    assert told == [
        [
            (2, "duplicate_custom_id"),
            (3, "invalid_url"),
            (4, "invalid_method"),
            (5, "model_not_found"),
            (6, "invalid_body"),
            (7, "invalid_custom_id"),
            (8, "invalid_request"),
        ],
        [(1, "invalid_json_line"), (2, "invalid_request")],
        [(None, "empty_file")],
    ]
    assert found[0].request_counts.total == 0
    assert found[0].output_file_id is None


async def test_a_batch_is_refused_by_the_field_that_is_wrong(valkey):
    async with batch_scene() as scene:
        file_id = await scene.upload("chat", line("a"))
        good = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}
        wrong = [
            {"endpoint": "/v1/models"},
            {"completion_window": "7d"},
            {"input_file_id": 5},
            {"input_file_id": "file-of-nobody"},
            {"metadata": {"key": "v" * 513}},
            {"metadata": {"key": 1}},
            {"output_expires_after": {"anchor": "created_at", "seconds": 1}},
        ]
        told = []
        for change in wrong:
            answer = await post(scene, {**good, **change})
            told.append((answer["code"], answer["param"]))
        theirs = await post(scene, good, tenant="shop")

    assert told == [
        ("invalid_request", "endpoint"),
        ("invalid_request", "completion_window"),
        ("invalid_request", "input_file_id"),
        ("file_not_found", "id"),
        ("invalid_request", "metadata"),
        ("invalid_request", "metadata"),
        ("invalid_request", "expires_after"),
    ]
    assert theirs["code"] == "file_not_found"


async def test_a_slice_ends_and_the_next_goes_on_where_it_was(valkey, knobs):
    knobs["FAIRLANE_BATCH_SLICE_S"] = 0.4
    asked = [line(f"row-{n}", **SLOW) for n in range(24)]
    async with batch_scene("chat", time_scale=8) as scene:
        made = await scene.batch("chat", *asked)
        await slices(scene, knobs, most=1)
        middle = await read(Batch.objects.get)
        await slices(scene, knobs)
        batch = await scene.clients["chat"].batches.retrieve(made.id)
        rows = await scene.rows_of("chat", batch.output_file_id)
        await until(lambda: not scene.plane.gateway.books.unsettled)

    assert middle.status == "in_progress"
    assert 4 <= middle.completed == middle.done_lines < 24
    assert (middle.claim, middle.claimed_until) == ("", None)
    assert [row["custom_id"] for row in rows] == [row["custom_id"] for row in asked]
    assert await read(UsageRecord.objects.count) == 24


async def test_a_cancelled_batch_sends_nothing_more_and_keeps_what_it_has(valkey, knobs):
    asked = [line(f"row-{n}", **SLOW) for n in range(60)]
    async with batch_scene("chat", time_scale=8) as scene:
        api = scene.clients["chat"].batches
        made = await scene.batch("chat", *asked)
        running = asyncio.create_task(slices(scene, knobs))
        await begun(made.id, results=4)
        told = await api.cancel(made.id)
        again = await api.cancel(made.id)
        await running
        batch = await api.retrieve(made.id)
        rows = await scene.rows_of("chat", batch.output_file_id)
        rest = await scene.rows_of("chat", batch.error_file_id)

    assert (told.status, again.status, batch.status) == ("cancelling", "cancelling", "cancelled")
    assert batch.cancelled_at >= batch.cancelling_at
    assert 4 <= len(rows) < 60
    assert {row["error"]["code"] for row in rest} == {"batch_cancelled"}
    assert sorted(row["custom_id"] for row in rows + rest) == sorted(row["custom_id"] for row in asked)


async def test_a_batch_that_is_not_done_in_its_window_expires(valkey, knobs):
    async with batch_scene("chat") as scene:
        made = await scene.batch("chat", line("a"), line("b"))
        await read(lambda: Batch.objects.update(expires_at=timezone.now()))
        await slices(scene, knobs)
        batch = await scene.clients["chat"].batches.retrieve(made.id)
        rest = await scene.rows_of("chat", batch.error_file_id)

    assert (batch.status, batch.output_file_id) == ("expired", None)
    assert [(row["custom_id"], row["response"], row["error"]["code"]) for row in rest] == [
        ("a", None, "batch_expired"),
        ("b", None, "batch_expired"),
    ]


async def test_interactive_requests_overtake_a_running_batch(valkey, knobs):
    async with batch_scene("chat", seats=1, time_scale=8) as scene:
        made = await scene.batch("chat", *(line(f"row-{n}", **SLOW) for n in range(20)))
        running = asyncio.create_task(slices(scene, knobs))
        await begun(made.id)
        await ask(scene, "chat", "interactive")
        await scene.clients["chat"].batches.cancel(made.id)
        await running
        await until(lambda: not scene.plane.gateway.books.unsettled)

    (quick,) = await read(lambda: list(UsageRecord.objects.filter(priority_class="interactive")))
    lines = await read(lambda: list(UsageRecord.objects.filter(priority_class="batch")))
    before = [each for each in lines if each.queued_at < quick.queued_at and each.dispatched_at]
    assert sum(each.dispatched_at > quick.queued_at for each in before) >= 2, "it found a line"
    assert [each for each in before if quick.queued_at < each.dispatched_at < quick.dispatched_at] == []


async def test_a_batch_waits_while_its_tenant_is_suspended_and_fails_when_its_token_is_revoked(valkey, knobs):
    async with batch_scene("chat") as scene:
        made = await scene.batch("chat", line("a"), line("b"))
        await scene.plane.write(scheduling.suspend_tenant, "chat")
        await scene.plane.settle()
        await slices(scene, knobs)
        waiting = await read(Batch.objects.get)
        await scene.plane.write(scheduling.resume_tenant, "chat")
        token = await read(ApiToken.objects.get)
        await scene.plane.write(gateway_services.revoke_token, token.pk)
        await scene.plane.settle()
        await read(lambda: Batch.objects.update(not_before=None))
        await slices(scene, knobs)
        failed = await read(Batch.objects.get)

    assert (waiting.status, waiting.waits_for, waiting.done) == ("in_progress", "tenant_suspended", 0)
    assert waiting.not_before > timezone.now()
    assert (failed.status, failed.errors[0]["code"]) == ("failed", "invalid_api_key")
    assert failed.public_id == made.id


async def test_a_batch_leaves_its_tenants_other_requests_their_part_of_the_minute(valkey, knobs):
    quotas = {"requests_per_minute": 20}
    async with batch_scene("chat", rules={"chat": {"quotas": quotas}}) as scene:
        await scene.batch("chat", *(line(f"row-{n}") for n in range(30)))
        await slices(scene, knobs)
        batch = await read(Batch.objects.get)
        answered = await ask(scene, "chat", "interactive")

    assert 10 <= batch.completed <= 14  # half of it, and what was in flight when that was seen
    assert batch.waits_for == "the tenant's other requests"
    assert batch.not_before > timezone.now()
    assert answered


async def test_a_batch_holds_half_of_its_tenants_seats_at_most(valkey, knobs):
    async with batch_scene("chat", rules={"chat": {"quotas": {"in_flight": 4}}}, time_scale=8) as scene:
        made = await scene.batch("chat", *(line(f"row-{n}", **SLOW) for n in range(12)))
        running = asyncio.create_task(slices(scene, knobs))
        seen = 0
        while not running.done():
            seen = max(seen, len(scene.plane.gateway.pulse))
            await asyncio.sleep(0.005)
        await running
        batch = await scene.clients["chat"].batches.retrieve(made.id)

    assert batch.status == "completed"
    assert seen == 2


async def test_a_batch_waits_out_a_gateway_that_is_away(valkey, knobs):
    knobs["FAIRLANE_BATCH_SLICE_S"] = 0.3
    async with batch_scene("chat") as scene:
        made = await scene.batch("chat", line("a"))
        knobs["FAIRLANE_GATEWAY_URL"] = "http://127.0.0.1:9"
        assert await read(runner.run_slice)
        waiting = await read(Batch.objects.get)
        await slices(scene, knobs)
        await asyncio.sleep(1.1)
        await slices(scene, knobs)
        batch = await scene.clients["chat"].batches.retrieve(made.id)

    assert waiting.waits_for == "the gateway does not answer"
    assert batch.status == "completed"
