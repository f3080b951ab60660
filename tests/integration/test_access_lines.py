"""One JSON line per request that is new, put together by Postgres as msgspec would write it."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime

import msgspec
import pytest
from django.db import connection

from config.bookkeeping import Bookkeeper
from gateway.access_log import AccessLog
from gateway.models import ApiToken
from gateway.records import Record, keep
from gateway.services import issue_token
from scheduling.services import create_tenant
from tests.fakes.gateway import MODEL

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

WORKER = "host-7 é"
NOW_S = 1_700_000_000


def record(name="req_1", **changes) -> Record:
    values = {
        "accepted_at": 1000.0, "queued_at": 1000.0, "dispatched_at": 1000.25, "first_token_at": 1000.5,
        "ended_at": 1002.0, "tenant": "chat", "model": "m", "priority_class": "batch",
        "endpoint": "/v1/completions", "stream": True, "outcome": "ok", "status": 200,
    }  # fmt: skip
    return Record(request_id=name, **{**values, **changes})


def lines(*records: Record, worker=WORKER) -> list[str]:
    return keep(records, worker).lines.split("\n")[:-1]


def ms(since, until):
    return None if since is None or until is None else round((until - since) * 1000)


def expected(record: Record) -> str:
    """The line as docs/accounting.md has it, written by another."""
    accepted_at, ended_at = record.accepted_at, record.ended_at
    line = {
        "ts": datetime.fromtimestamp(ended_at, UTC), "level": "info", "event": "access", "worker": WORKER,
        "request_id": record.request_id, "client_request_id": record.client_request_id,
        "trace_id": record.trace_id, "tenant": record.tenant,
        "token_id": record.api_token_id, "user": record.user_hash,
        "endpoint": record.endpoint, "stream": record.stream, "model": record.model, "pool": record.pool,
        "backend": record.backend, "class": record.priority_class, "outcome": record.outcome,
        "status": record.status, "attempt": record.attempt,
        "queue_ms": ms(record.queued_at or accepted_at, record.dispatched_at),
        "ttft_ms": ms(accepted_at, record.first_token_at), "total_ms": ms(accepted_at, ended_at),
        "prompt_tokens": record.prompt_tokens, "cached_tokens": record.cached_tokens,
        "completion_tokens": record.completion_tokens, "estimated": record.estimated,
        "cost": record.cost, "spend": record.spend, "policy_version": record.policy_revision,
    }  # fmt: skip
    return msgspec.json.encode(line).decode()


def any_record(rng: random.Random, number: int) -> Record:
    texts = ["", MODEL, 'a"b\\c/', "x\ny\tz\x01\x1b\r\b\f", "é\u2028\x7f\U0001f600<&>"]
    at_s = NOW_S + rng.randrange(10**9) / 10**6
    # Never just between two milliseconds: there a microsecond's rounding decides.
    ends = [at_s + rng.randrange(90_000) / 1000 + 0.0002 for _ in range(3)]
    return record(
        f"req_{number}", accepted_at=at_s, queued_at=rng.choice([None, at_s]),
        dispatched_at=rng.choice([None, ends[0]]), first_token_at=rng.choice([None, ends[1]]),
        ended_at=rng.choice([ends[2], at_s // 1 + 100 if at_s % 0.001 < 0.0004 else ends[2]]),
        stream=rng.choice([True, False]), estimated=rng.choice([True, False]),
        model=rng.choice(texts), client_request_id=rng.choice(texts), pool=rng.choice(texts),
        backend=rng.choice(texts), user_hash=rng.choice(["", "h" * 8]), attempt=rng.randrange(1, 4),
        api_token_id=rng.choice([None, 3, 2**40]), cost=rng.randrange(9), prompt_tokens=rng.randrange(9),
        completion_tokens=rng.randrange(9), spend=rng.choice([0, 10**12]),
        trace_id=rng.choice(["", "4bf92f3577b34da6a3ce929d0e0e4736"]),
        outcome=rng.choice(["ok", "quota", "worker_lost"]), status=rng.choice([200, 429]),
    )  # fmt: skip


def test_a_line_says_who_what_how_long_and_how_it_ended():
    (line,) = map(
        json.loads, lines(record(api_token_id=3, client_request_id="mine", cost=9, policy_revision=4))
    )
    assert line["ts"] == "1970-01-01T00:16:42Z"
    assert (line["event"], line["worker"], line["request_id"]) == ("access", WORKER, "req_1")
    assert (line["client_request_id"], line["tenant"], line["token_id"]) == ("mine", "chat", 3)
    assert (line["queue_ms"], line["ttft_ms"], line["total_ms"]) == (250, 500, 2000)
    assert (line["class"], line["outcome"], line["status"], line["cost"]) == ("batch", "ok", 200, 9)
    assert line["policy_version"] == 4


def test_what_never_happened_is_null():
    (line,) = map(json.loads, lines(record(dispatched_at=None, first_token_at=None)))
    assert (line["queue_ms"], line["ttft_ms"], line["total_ms"]) == (None, None, 2000)


def test_any_record_makes_the_line_that_msgspec_would_have_written():
    rng = random.Random(7)
    records = [any_record(rng, number) for number in range(300)]

    assert sorted(lines(*records)) == sorted(map(expected, records))


def test_only_what_is_new_has_a_line_and_lines_are_in_the_order_of_ends():
    assert len(lines(record("a", ended_at=1002.0), record("b", ended_at=1001.0))) == 2
    told = lines(record("a"), record("d", ended_at=1004.0), record("b"), record("c", ended_at=1003.0))
    assert [json.loads(line)["request_id"] for line in told] == ["c", "d"]
    assert lines(record("a")) == []
    assert lines(record("e"), worker=None) == []


@pytest.fixture
def token():
    create_tenant("research", by="root")
    return issue_token(tenant="research", name="ci", by="root").token


def test_last_use_of_an_api_token_is_noted_when_there_is_nothing_more_to_do(tmp_path, token):
    books = Bookkeeper(AccessLog("access.jsonl", tmp_path, 10**6), WORKER)
    for number in range(3):
        books.store([record(f"r{number}", api_token_id=token.pk, ended_at=NOW_S + number + 0.5)])
    assert connection.connection is not None, "it stays open while there is work"
    assert ApiToken.objects.get(pk=token.pk).last_used_at is None
    books.rest()
    assert connection.connection is None
    assert ApiToken.objects.get(pk=token.pk).last_used_at.timestamp() == NOW_S + 2.5
    assert len((tmp_path / "access.jsonl").read_text().splitlines()) == 3


def test_last_use_is_noted_in_time_when_there_is_always_something_to_do(tmp_path, monkeypatch, token):
    monkeypatch.setattr("config.bookkeeping.NOTE_EVERY_S", 0)
    books = Bookkeeper(AccessLog("off", tmp_path, 10**6), WORKER)
    books.store([record(api_token_id=token.pk, ended_at=float(NOW_S))])
    assert ApiToken.objects.get(pk=token.pk).last_used_at.timestamp() == NOW_S
