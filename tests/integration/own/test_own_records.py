"""What an owner reads of its past, from the usage records in Postgres, and what it can do without them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import django.db
import httpx2 as httpx
import pytest

from gateway.going import Going
from gateway.models import UsageRecord
from gateway.own import reads
from tests.fakes.engine import running_engine
from tests.fakes.plane import MODEL, read, running_plane
from tests.fakes.waiting import until

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

CHAT = "/v1/chat/completions"
SHORT = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}


def client_of(plane, secret):
    return httpx.AsyncClient(base_url=plane.url, headers={"authorization": f"Bearer {secret}"}, timeout=10)


async def stored(count):
    for _ in range(500):
        if await read(UsageRecord.objects.count) >= count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{count} records were not stored in time")


async def test_an_owner_reads_how_its_requests_went_and_what_they_came_to_and_no_other_does(valkey):
    async with running_engine(time_scale=50, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"chat": {}, "research": {}})
        async with client_of(plane, secrets["chat"]) as mine, client_of(plane, secrets["research"]) as theirs:
            for n in (2, 3):
                await mine.post(CHAT, json={**SHORT, "max_tokens": n}, headers={"x-request-id": f"trace-{n}"})
            await theirs.post(CHAT, json=SHORT)
            await stored(3)
            plane.gateway.books.going = Going({}, [])  # as after a restart

            own = (await mine.get("/v1/requests/trace-3")).json()
            same = (await mine.get(f"/v1/requests/{own['id']}")).json()
            cancelled = (await mine.post(f"/v1/requests/{own['id']}/cancel")).json()
            not_theirs = await theirs.get(f"/v1/requests/{own['id']}")
            unknown = await theirs.get("/v1/requests/nobody")
            sums = (await mine.get("/v1/usage")).json()
            by_hour = (await mine.get("/v1/usage", params={"grain": "hour", "model": MODEL})).json()
            of_none = (await mine.get("/v1/usage", params={"model": "gpt-7"})).json()
            before = datetime.now(UTC) - timedelta(days=2)
            old = {"since": before.isoformat(), "until": (before + timedelta(days=1)).isoformat()}
            earlier = (await mine.get("/v1/usage", params=old)).json()

    assert (own["state"], own["outcome"], own["client_request_id"]) == ("ended", "ok", "trace-3")
    assert own["usage"]["completion_tokens"] == 3
    assert own == same == cancelled
    assert (not_theirs.status_code, not_theirs.json()) == (404, unknown.json())
    (row,) = sums["data"]
    assert (row["model"], row["requests"], row["ok_requests"], row["completion_tokens"]) == (MODEL, 2, 2, 5)
    assert row["cost_tokens"] == row["prompt_tokens"] + 2 * 5
    assert sum(each["requests"] for each in by_hour["data"]) == 2
    assert all(each["at"].endswith(":00:00+00:00") for each in by_hour["data"])
    assert of_none["data"] == earlier["data"] == []


async def test_without_postgres_an_owner_still_sees_and_cancels_what_is_here(valkey, monkeypatch):
    def away(query):
        raise django.db.OperationalError("the server closed the connection")

    async with running_engine(time_scale=1, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"chat": {}}, seats=1)
        monkeypatch.setattr(reads, "_bounded", away)
        async with client_of(plane, secrets["chat"]) as mine:
            running = asyncio.create_task(mine.post(CHAT, json={**SHORT, "max_tokens": 400}))
            await until(lambda: sum(pool.in_flight for pool in plane.gateway.dispatcher.view()) == 1)
            (one,) = (await mine.get("/v1/requests")).json()["data"]
            limits, queue = await mine.get("/v1/limits"), await mine.get("/v1/queue")
            cancelled = (await mine.post(f"/v1/requests/{one['id']}/cancel")).json()
            again = (await mine.get(f"/v1/requests/{one['id']}")).json()
            unknown = await mine.get("/v1/requests/nobody")
            usage = await mine.get("/v1/usage")
            await running

    assert (limits.status_code, queue.status_code) == (200, 200)
    assert (cancelled["outcome"], again) == ("cancelled_client", cancelled)
    for answer in (unknown, usage):
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "records_unavailable")
        assert answer.headers["retry-after"]


async def test_the_database_knows_the_outcome_of_a_cancelled_request(valkey):
    async with running_engine(time_scale=1, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"chat": {}}, seats=1)
        async with client_of(plane, secrets["chat"]) as mine:
            running = asyncio.create_task(
                mine.post(CHAT, json={**SHORT, "max_tokens": 400}, headers={"x-request-id": "long"})
            )
            await until(lambda: sum(pool.in_flight for pool in plane.gateway.dispatcher.view()) == 1)
            await mine.post("/v1/requests/long/cancel")
            await running
            await stored(1)

    record = await read(UsageRecord.objects.get)
    assert (record.outcome, record.status, record.tenant) == ("cancelled_client", 499, "chat")


async def test_a_span_at_the_end_of_all_calendars_is_refused_by_the_field_that_is_wrong(valkey):
    first, last = "0001-01-01T00:00:00Z", "9999-12-31T23:30:00Z"
    async with running_engine(time_scale=50, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"chat": {}})
        async with client_of(plane, secrets["chat"]) as mine:
            asked = [{"until": first}, {"until": last}, {"since": last}, {"until": "253402300799"}]
            said = [await mine.get("/v1/usage", params=each) for each in asked]

    assert [each.status_code for each in said] == [400] * 4
    assert [each.json()["error"]["param"] for each in said] == ["until", "until", "since", "until"]
