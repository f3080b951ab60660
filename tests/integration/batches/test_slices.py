"""What one slice of a batch does, in this process: real gateway, real Postgres, the simulated engine."""

from __future__ import annotations

import asyncio

import pytest
from django.utils import timezone

from gateway import services as gateway_services
from gateway.batches.models import Batch
from gateway.models import ApiToken, UsageRecord
from scheduling import services as scheduling
from tests.fakes.batches import ask, batch_scene, begun, line, one_slice, slices
from tests.fakes.plane import read
from tests.fakes.waiting import until

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

SLOW = {"max_tokens": 60}


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


async def test_a_wrong_file_is_told_at_once_and_a_right_one_waits_behind_the_older_batch(valkey, knobs):
    knobs["FAIRLANE_BATCH_SLICE_S"] = 0.4
    async with batch_scene("chat", time_scale=8) as scene:
        old = await scene.batch("chat", *[line(f"row-{n}", **SLOW) for n in range(24)])
        await slices(scene, knobs, most=1)
        wrong = await scene.batch("chat", {"custom_id": "a"})
        right = await scene.batch("chat", line("a"))
        await slices(scene, knobs, most=2)
        found = {batch.public_id: batch for batch in await read(lambda: list(Batch.objects.all()))}

    assert [found[each.id].status for each in (old, wrong, right)] == ["in_progress", "failed", "in_progress"]
    assert found[right.id].done == 0
    assert found[right.id].claim == ""


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
            seen = max(seen, len(scene.plane.gateway.pulse.clients))
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
        assert await asyncio.to_thread(one_slice)
        waiting = await read(Batch.objects.get)
        await slices(scene, knobs)
        await asyncio.sleep(1.1)
        await slices(scene, knobs)
        batch = await scene.clients["chat"].batches.retrieve(made.id)

    assert waiting.waits_for == "the gateway does not answer"
    assert batch.status == "completed"


async def test_a_line_that_needs_more_than_a_whole_budget_fails_and_holds_up_no_other(valkey, knobs):
    long = [{"role": "user", "content": "all of it " * 1000}]
    rules = {"chat": {"quotas": {"tokens_per_day": 500}}}
    async with batch_scene("chat", rules=rules) as scene:
        made = await scene.batch("chat", line("much", messages=long), line("a"), line("b"))
        await slices(scene, knobs)
        batch = await scene.clients["chat"].batches.retrieve(made.id)
        (failed,) = await scene.rows_of("chat", batch.error_file_id)

    assert (batch.status, batch.request_counts.completed) == ("completed", 2)
    assert failed["response"]["body"]["error"]["code"] == "budget_too_small"
