"""The Batch API, as OpenAI's client uses it: what is asked, what is answered, what is refused."""

from __future__ import annotations

import openai
import pytest

from gateway.batches.models import BatchResult
from gateway.models import UsageRecord
from tests.fakes.batches import CHAT, batch_scene, line, post, slices
from tests.fakes.plane import MODEL, read
from tests.fakes.waiting import until

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


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
        ("file_not_found", "input_file_id"),
        ("invalid_request", "metadata"),
        ("invalid_request", "metadata"),
        ("invalid_request", "output_expires_after"),
    ]
    assert theirs["code"] == "file_not_found"
