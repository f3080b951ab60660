"""Gateways killed under load, and Postgres away: each accepted request has exactly one record."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from contextlib import asynccontextmanager, suppress

import httpx2 as httpx
import psycopg
import pytest
from django.db import connection

from gateway.journal import Journal
from gateway.models import HourlyUsage, UsageRecord
from gateway.records import store
from scheduling.core.outcome import Outcome
from tests.fakes.engine import running_engine
from tests.fakes.gateway import MODEL, Cast
from tests.fakes.plane import read
from tests.fakes.waiting import until
from tests.soak.load import Load
from tests.soak.nursery import ABOUT_TO, ACCEPTED, running_nursery, url_of

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

KILLS = 20
CLIENTS = 12
TENANT = "research"


@asynccontextmanager
async def nursery_under_load(tmp_path, clients: int):
    cast = Cast.of(TENANT)
    load = Load(cast.secrets[TENANT], MODEL)
    async with (
        running_engine(model=MODEL, time_scale=50, max_num_seqs=64, failures=()) as engine,
        running_nursery(tmp_path / "journal", engine.url, cast, url_of(connection.settings_dict)) as nursery,
    ):
        asking = asyncio.create_task(load.run(clients))
        try:
            yield nursery, load
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking


def adopt(tmp_path) -> None:
    """What the next gateway does, twice."""
    heir = Journal(tmp_path / "journal", store, every_s=60)
    for _ in range(2):
        heir.adopt()
    heir.stop()


def outcomes() -> list[tuple[str, str]]:
    return list(UsageRecord.objects.values_list("request_id", "outcome"))


def counted() -> int:
    return sum(HourlyUsage.objects.values_list("requests", flat=True))


async def test_20_killed_gateways_lose_no_request_and_record_none_twice(tmp_path) -> None:
    rng = random.Random(1)
    (tmp_path / "journal").mkdir()
    async with nursery_under_load(tmp_path, CLIENTS) as (nursery, load):
        for _ in range(KILLS):
            victim, load.url = await nursery.bear()
            await load.another_head()
            await asyncio.sleep(rng.uniform(0, 0.25))
            os.kill(victim, signal.SIGKILL)
    await asyncio.to_thread(adopt, tmp_path)

    rows = await read(outcomes)
    about_to, accepted = (set((tmp_path / name).read_text().split()) for name in (ABOUT_TO, ACCEPTED))
    recorded = Counter(name for name, _ in rows)
    lost = Counter(outcome for _, outcome in rows)[Outcome.WORKER_LOST]
    assert accepted - set(recorded) == set(), "lost"
    assert load.begun - set(recorded) == set(), "lost, though the client had its head"
    assert set(recorded) - about_to == set(), "recorded, though nobody asked"
    assert set(recorded.values()) == {1}, "recorded twice"
    # The last byte may be out and the second line not yet written when the kill comes.
    assert {outcome for name, outcome in rows if name in load.whole} <= {Outcome.OK, Outcome.WORKER_LOST}
    assert len(load.whole) > KILLS < lost, "there was a load, and the kills hit it"
    assert await read(counted) == len(rows), "the totals say the same"
    assert list((tmp_path / "journal").iterdir()) == []


class Postgres:
    """The tests' server, as its admin."""

    def __init__(self) -> None:
        settings = connection.settings_dict
        self._name = settings["NAME"]
        self._admin = psycopg.connect(
            host=str(settings["HOST"]), user=settings["USER"], dbname="postgres", autocommit=True
        )

    def close_door(self) -> None:
        self._admin.execute(f'ALTER DATABASE "{self._name}" WITH ALLOW_CONNECTIONS false')
        self._admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self._name]
        )

    def open_door(self) -> None:
        self._admin.execute(f'ALTER DATABASE "{self._name}" WITH ALLOW_CONNECTIONS true')

    def close(self) -> None:
        self.open_door()
        self._admin.close()


@pytest.fixture
def postgres(transactional_db):
    server = Postgres()
    yield server
    server.close()
    connection.close()
    connection.close_pool()


async def test_while_postgres_is_away_no_stream_stops_and_no_record_is_lost(tmp_path, postgres) -> None:
    (tmp_path / "journal").mkdir()
    async with nursery_under_load(tmp_path, 4) as (nursery, load):
        _, url = await nursery.bear()
        load.url = url
        await until(lambda: load.whole, 20)
        long = Load(load.secret, MODEL, url)
        async with httpx.AsyncClient(
            headers={"authorization": f"Bearer {load.secret}"}, timeout=30
        ) as client:
            stream = asyncio.create_task(long.ask(client, 4000, stream=True))
            await until(lambda: long.begun, 20)
            await asyncio.to_thread(postgres.close_door)
            already = len(load.whole)
            await stream
            while_away = len(load.whole) - already
            load.url = ""
            await asyncio.to_thread(postgres.open_door)
        connection.close_pool()
        wanted = load.whole | long.whole
        async with asyncio.timeout(40):
            while not wanted <= {name for name, _ in await read(outcomes)}:
                await asyncio.sleep(0.05)
    assert long.whole
    assert while_away > 20
    assert load.broken == 0
    assert load.refused == {}
    rows = await read(outcomes)
    assert max(Counter(name for name, _ in rows).values()) == 1
