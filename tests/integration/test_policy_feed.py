"""How a gateway stays on the newest rules."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from scheduling import policy_feed, selectors, services
from scheduling.core.policy import Policy
from scheduling.policy_feed import GATEWAY_LOCK, PolicyFeed
from tests.fakes.waiting import PATIENCE_S, until

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
BY = "admin:ada"


@contextlib.asynccontextmanager
async def following(feed):
    task = asyncio.create_task(feed.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            await feed.loaded.wait()
        yield feed
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@sync_to_async
def write(service, *args, **kwargs):
    try:
        return service(*args, by=BY, **kwargs)
    finally:
        connection.close()


def read_revision() -> int:
    try:
        return selectors.revision()
    finally:
        connection.close()


@sync_to_async
def cut_off_every_listener() -> int:
    """End the feeds' connections from the server's side."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = %s",
            [policy_feed.LISTENER],
        )
        (count,) = cursor.fetchone()
    connection.close()
    return count


async def test_a_write_is_in_force_everywhere_well_within_a_second() -> None:
    first: list[Policy] = []
    second: list[Policy] = []
    async with (
        following(PolicyFeed(selectors.policy, first.append)),
        following(PolicyFeed(selectors.policy, second.append)),
    ):
        began = time.monotonic()
        await write(services.create_tenant, "chat", weight=7)
        await until(lambda: all("chat" in seen[-1].tenants for seen in (first, second)))

    assert time.monotonic() - began < 1.0
    assert first[-1].tenants["chat"].weight == 7


async def test_a_lost_wake_up_only_costs_the_time_to_the_next_question(monkeypatch) -> None:
    monkeypatch.setattr(policy_feed, "ASK_EVERY_S", 0.1)
    monkeypatch.setattr(policy_feed, "REVISION_CHANNEL", "a_channel_nobody_uses")
    seen: list[Policy] = []
    async with following(PolicyFeed(selectors.policy, seen.append)):
        await write(services.create_tenant, "chat")
        await until(lambda: "chat" in seen[-1].tenants)


async def test_a_burst_of_writes_makes_few_reloads() -> None:
    seen: list[Policy] = []
    await write(services.create_tenant, "chat")
    async with following(PolicyFeed(selectors.policy, seen.append)):
        before, began = len(seen), time.monotonic()
        for weight in range(2, 22):
            await write(services.set_weight, "chat", weight)
        await until(lambda: seen[-1].tenants["chat"].weight == 21)
        took = time.monotonic() - began

    assert len(seen) - before <= took / policy_feed.APART_S + 2


async def test_a_revision_seen_is_a_whole_consistent_policy() -> None:
    """Two revisions a transaction, one weight up: no reader sees a revision with another's weights."""
    await write(services.create_tenant, "left")
    await write(services.create_tenant, "right")
    base = (await asyncio.to_thread(read_revision)) - 2
    seen: list[Policy] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.append(selectors.policy())
        connection.close()

    def move() -> None:
        for weight in range(2, 12):
            with services.writing():
                services.set_weight("left", weight, by=BY)
                services.set_weight("right", weight, by=BY)
        connection.close()

    reader = asyncio.create_task(asyncio.to_thread(read))
    await asyncio.to_thread(move)
    stop.set()
    await reader

    weights = {policy.revision: [rule.weight for rule in policy.tenants.values()] for policy in seen}
    assert len(weights) > 1
    assert all(left == right == (revision - base) // 2 for revision, (left, right) in weights.items())


async def test_the_feed_survives_postgres_going_away() -> None:
    seen: list[Policy] = []
    async with following(PolicyFeed(selectors.policy, seen.append)) as feed:
        assert await cut_off_every_listener() == 1
        await write(services.create_tenant, "chat")
        await until(lambda: "chat" in seen[-1].tenants)
        assert feed.age_s < 1


async def test_the_age_grows_while_the_rules_cannot_be_read(monkeypatch) -> None:
    away = False

    async def connect():
        if away:
            raise psycopg.OperationalError("gone")
        return await really_connect()

    really_connect = policy_feed._connect
    monkeypatch.setattr(policy_feed, "_connect", connect)
    feed = PolicyFeed(selectors.policy, lambda _: None)
    assert feed.age_s == float("inf")
    async with following(feed):
        away = True
        await cut_off_every_listener()
        await until(lambda: feed.age_s > 0.3)
        away = False
        await until(lambda: feed.age_s < 0.2)


@pytest.mark.parametrize("trouble", [psycopg.OperationalError("closed"), ValueError("fairness is 'best'")])
async def test_a_load_that_fails_is_tried_again(trouble) -> None:
    tries = 0

    def load() -> Policy:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise trouble
        return selectors.policy()

    seen: list[Policy] = []
    async with following(PolicyFeed(load, seen.append)):
        assert len(seen) == 1


async def test_a_command_wakes_the_gateway_at_once() -> None:
    woken = asyncio.Event()
    async with following(PolicyFeed(selectors.policy, lambda _: None, on_command=woken.set)):
        began = time.monotonic()
        await write(services.send_command, "cancel", "req-1")
        async with asyncio.timeout(PATIENCE_S):
            await woken.wait()
        assert time.monotonic() - began < 0.5


async def test_only_one_gateway_process_may_seat_and_the_next_takes_over(monkeypatch, caplog) -> None:
    monkeypatch.setattr(policy_feed, "ASK_EVERY_S", 0.1)
    second = PolicyFeed(selectors.policy, lambda _: None, lock_key=GATEWAY_LOCK)
    async with following(PolicyFeed(selectors.policy, lambda _: None, lock_key=GATEWAY_LOCK)) as first:
        assert first.may_seat
        task = asyncio.create_task(second.run())
        await second.loaded.wait()
        assert not second.may_seat
        assert caplog.text.count("set REDIS_URL and --workers") == 1
    await until(lambda: second.may_seat)
    task.cancel()


async def test_a_gateway_that_lost_its_seat_vouches_for_no_rules_until_it_has_it_back(monkeypatch) -> None:
    monkeypatch.setattr(policy_feed, "ASK_EVERY_S", 0.05)
    monkeypatch.setattr(policy_feed, "FIRST_RETRY_S", 0.5)
    seen: list[Policy] = []
    async with following(PolicyFeed(selectors.policy, seen.append, lock_key=GATEWAY_LOCK)) as feed:
        await cut_off_every_listener()
        async with await policy_feed._connect() as other:
            await other.execute("SELECT pg_advisory_lock(%s)", [GATEWAY_LOCK])
            await until(lambda: not feed.may_seat)
            obeyed = len(seen)
            assert feed.age_s == float("inf")
        await until(lambda: feed.may_seat and len(seen) > obeyed)
        assert feed.age_s < 1
