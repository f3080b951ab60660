"""Usage records in the real Postgres: each request once, through outages, restarts and kill -9."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import httpx2 as httpx
import pytest
from django.db import connection, connections

from gateway.journal import REJECTED, Journal
from gateway.models import UsageRecord
from gateway.records import COLUMNS, Away, Record, Unstorable, store
from tests.fakes.engine import running_engine
from tests.fakes.gateway import MODEL, Cast

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

CHILD = """
import asyncio, json, os, sys
import django
django.setup()
from pathlib import Path
from gateway.consumers import GatewayConsumer
from gateway.journal import Journal
from gateway.records import store
from gateway.relay import Relay, RelayOptions
from gateway.serve import Gateway, Parts
from scheduling.dispatchers.memory import MemoryDispatcher
from scheduling.engines.endpoint import Endpoint
from tests.fakes.gateway import Cast, serving
from tests.fakes.waiting import clock_ms

async def main(folder, engine, cast):
    relay = Relay(RelayOptions())
    relay.set_endpoints({"gpu-0": Endpoint("gpu-0", engine)})
    journal = Journal(Path(folder), store, every_s=60)  # so that nothing reaches Postgres before the kill
    dispatcher = MemoryDispatcher(cast.policy(), clock_ms)
    gateway = Gateway(Parts(dispatcher, relay, journal, lambda: 0.0, b"salt"))
    gateway.set_policy(cast.policy())
    gateway.set_callers(cast.callers())
    async with serving(GatewayConsumer(gateway)) as (_, url):
        print(url, flush=True)
        await asyncio.sleep(60)

asyncio.run(main(sys.argv[1], sys.argv[2], Cast(json.loads(sys.argv[3]))))
"""


def record(name, **changes):
    values = {
        "accepted_at": 1_700_000_000.25, "queued_at": 1_700_000_000.25, "ended_at": 1_700_000_001.5,
        "tenant": "research", "model": MODEL, "priority_class": "standard", "endpoint": "/v1/completions",
        "stream": True, "api_token_id": 1, "outcome": "ok", "status": 200, "cost": 9,
    }  # fmt: skip
    return Record(request_id=name, **{**values, **changes})


def test_a_record_has_the_tables_columns():
    fields = {field.attname for field in UsageRecord._meta.concrete_fields if not field.primary_key}
    assert set(COLUMNS) == fields


def test_a_request_is_stored_once_however_often_it_is_given():
    store([record("a"), record("b", user_hash="h", first_token_at=1_700_000_000.5)])
    store([record("b", cost=77), record("c")])
    rows = {row.request_id: row for row in UsageRecord.objects.all()}
    assert sorted(rows) == ["a", "b", "c"]
    assert rows["b"].cost == 9
    assert rows["b"].first_token_at.timestamp() == 1_700_000_000.5
    assert rows["a"].first_token_at is None


def test_one_batch_may_hold_a_request_twice():
    store([record("a"), record("a")])
    assert UsageRecord.objects.count() == 1


@pytest.mark.parametrize("changes", [{"outcome": "nonsense"}, {"model": "m" * 201}, {"prompt_tokens": -1}])
def test_a_record_that_breaks_the_tables_rules_is_said_to_be_unstorable(changes):
    with pytest.raises(Unstorable):
        store([record("good"), record("bad", **changes)])
    assert not UsageRecord.objects.exists(), "nothing of a refused batch is stored"


def test_the_good_records_of_a_batch_are_stored_beside_a_bad_one(tmp_path):
    journal = Journal(tmp_path, store, every_s=60)
    for each in (record("a"), record("bad", outcome="nonsense"), record("c")):
        journal.accept(each)
        journal.end(each)
    journal.flush()
    assert sorted(UsageRecord.objects.values_list("request_id", flat=True)) == ["a", "c"]
    assert (tmp_path / REJECTED).exists()


def test_a_postgres_that_refuses_connections_is_away(monkeypatch):
    wrong = {**connection.settings_dict, "NAME": "no_such_database", "OPTIONS": {}}
    monkeypatch.setattr(connections["default"], "settings_dict", wrong)
    connection.close()
    try:
        with pytest.raises(Away):
            store([record("a")])
    finally:
        monkeypatch.undo()
        connection.close()


def stored():
    try:
        return list(UsageRecord.objects.values_list("request_id", "outcome"))
    finally:
        connection.close()  # this thread's own


async def test_after_kill_9_every_accepted_request_has_exactly_one_record(tmp_path):
    cast = Cast.of("research")
    headers = {"authorization": f"Bearer {cast.secrets['research']}"}
    body = {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
    async with running_engine(model=MODEL, time_scale=50, failures=()) as engine:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, str(tmp_path), engine.url, json.dumps(cast.secrets),
            stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )  # fmt: skip
        url = (await asyncio.wait_for(child.stdout.readline(), 20)).decode().strip()
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=10) as client:
            done = [await client.post("/v1/chat/completions", json=body) for _ in range(3)]
            slow = {**body, "max_tokens": 4000, "stream": True}
            running = asyncio.create_task(client.post("/v1/chat/completions", json=slow))
            while b'"stream":true' not in b"".join(path.read_bytes() for path in tmp_path.glob("*.jsonl")):
                await asyncio.sleep(0.01)
            os.kill(child.pid, signal.SIGKILL)
            await child.wait()
            with pytest.raises(httpx.HTTPError):
                await running
        child._transport.close()
    ids = {each.headers["x-fairlane-request-id"] for each in done}
    journal = Journal(tmp_path, store, every_s=60)
    for _ in range(2):
        await asyncio.to_thread(journal.adopt)
    rows = await asyncio.to_thread(stored)
    assert {name for name, outcome in rows if outcome == "ok"} == ids
    assert sorted(outcome for _, outcome in rows) == ["ok", "ok", "ok", "worker_lost"]
    journal.stop()
