"""Budgets over restarts: a gateway goes on from what the usage records and the journals say was used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx2 as httpx
import pytest
from django.utils import timezone

from gateway import used as gateway_used
from gateway.records import Away
from gateway.used import used as used_of
from scheduling.core.quota import Scope
from tests.fakes.engine import running_engine
from tests.fakes.plane import MODEL, read, running_plane
from tests.fakes.usage import save, used
from tests.fakes.waiting import until

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
ALL = {
    "requests_per_minute": 9,
    "tokens_per_minute": 9,
    "tokens_per_day": 9,
    "tokens_per_month": 9,
    "spend_per_month": 9,
}
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}


def of(key, limits=ALL):
    return used_of([Scope(key, limits)], NOW).get(key)


def test_what_was_used_is_counted_by_minute_day_and_month():
    hour, day = timedelta(hours=1), timedelta(days=1)
    save(
        used("now", "chat", "m", NOW, dispatched_at=NOW - timedelta(seconds=59), spend=7),
        used("dispatched before", "chat", "m", NOW, dispatched_at=NOW - timedelta(seconds=61), spend=7),
        used("today", "chat", "m", NOW - hour, spend=7),
        used("yesterday", "chat", "m", NOW - day, spend=7),
        used("over midnight", "chat", "m", NOW, accepted_at=NOW - day, dispatched_at=NOW - day, spend=7),
        used("last month", "chat", "m", NOW - 14 * day, spend=7),
    )
    assert of(("tenant", "chat")) == {
        "requests_per_minute": 1,
        "tokens_per_minute": 15,
        "tokens_per_day": 45,
        "tokens_per_month": 75,
        "spend_per_month": 35,
    }


def test_what_was_used_is_counted_for_tenant_model_and_api_token_apart():
    save(
        used("a", "chat", "m", NOW, api_token_id=1),
        used("b", "chat", "n", NOW, api_token_id=2),
        used("c", "shop", "m", NOW, api_token_id=3),
    )
    keys = [("tenant", "chat"), ("model", "chat", "m"), ("api_token", "3"), ("tenant", "empty")]
    found = used_of([Scope(key, ALL) for key in keys], NOW)
    assert [found.get(key, {}).get("tokens_per_day") for key in keys] == [30, 15, 15, None]


def test_a_request_that_gave_all_back_counts_nothing_and_a_lost_one_its_estimate():
    lost = {"outcome": "worker_lost", "cost": 0, "prompt_tokens": 0, "completion_tokens": 0}
    save(
        used("failed", "chat", "m", NOW, cost=0, outcome="connect_fail"),
        used("lost", "chat", "m", NOW, estimated_tokens=400, spend=11, **lost),
    )
    found = of(("tenant", "chat"))
    assert (found["requests_per_minute"], found["tokens_per_day"], found["spend_per_month"]) == (1, 400, 11)


def test_without_a_budget_the_month_is_not_read():
    save(used("today", "chat", "m", NOW - timedelta(hours=1)))
    assert of(("tenant", "chat"), {"requests_per_minute": 9}) is None
    assert of(("tenant", "chat"), {"tokens_per_month": 9})["tokens_per_month"] == 15


async def test_a_budget_is_used_up_over_a_restart(valkey):
    async with running_engine(time_scale=20, model=MODEL) as engine:
        async with running_plane() as plane:
            budget = {"quotas": {"tokens_per_day": 300}}
            secrets = await plane.setup([engine], {"chat": budget, "shop": {}})
            assert [await ask(plane, secrets["chat"])] == [200]
        await read(
            save, used("earlier", "chat", MODEL, timezone.now(), prompt_tokens=295, completion_tokens=0)
        )
        async with running_plane() as plane:
            await until(lambda: plane.gateway.ready)
            answers = [await ask(plane, secrets[slug]) for slug in ("chat", "shop")]
    assert answers == [429, 200]


async def test_while_the_records_cannot_be_read_a_budgeted_tenant_waits_and_the_others_are_served(
    valkey, monkeypatch
):
    monkeypatch.setattr("gateway.bygone.PATIENCE_S", 0.1)

    def away(*_):
        raise Away("no database")

    async with running_engine(time_scale=20, model=MODEL) as engine:
        async with running_plane() as plane:
            secrets = await plane.setup([engine], {"chat": {"quotas": {"tokens_per_day": 300}}, "shop": {}})
        monkeypatch.setattr("config.data_plane.used", away)
        async with running_plane() as plane:
            await plane.settle()
            assert not plane.gateway.ready
            assert [await ask(plane, secrets[slug]) for slug in ("chat", "shop")] == [503, 200]
            monkeypatch.setattr("config.data_plane.used", gateway_used.used)
            await until(lambda: plane.gateway.ready)
            assert await ask(plane, secrets["chat"]) == 200


async def ask(plane, secret) -> int:
    async with httpx.AsyncClient(base_url=plane.url) as client:
        headers = {"authorization": f"Bearer {secret}"}
        answer = await client.post("/v1/chat/completions", json=BODY, headers=headers)
    return answer.status_code
