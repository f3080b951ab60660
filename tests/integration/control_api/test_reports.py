"""What the control API tells of usage and of the queues, and when it cannot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError
from redis.exceptions import RedisError

from gateway.api import live
from gateway.pictures import Picture, PoolPicture
from tests.fakes.usage import save, used
from tests.integration.control_api.script import is_problem

pytestmark = pytest.mark.django_db


@pytest.fixture
def day(api):
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    save(
        *(used(f"req-{n}", "chat", "llama", noon + timedelta(minutes=30 * n), stream=True) for n in range(3))
    )
    return {"since": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z"}


def test_usage_is_summed_and_its_records_are_listed(api, day) -> None:
    (row,) = api.items("usage", **day)
    assert (row["tenant"], row["model"], row["requests"], row["cost"]) == ("chat", "llama", 3, 60)
    hours = api.items("usage", by="tenant", bucket="hour", **day)
    assert [row["requests"] for row in hours] == [2, 1]
    assert [row["request_id"] for row in api.items("usage/records", tenant="chat", **day)] == [
        "req-2", "req-1", "req-0",
    ]  # fmt: skip
    assert api.items("usage") == []


def test_records_of_one_instant_come_in_pages_none_of_them_twice(api) -> None:
    noon = datetime(2026, 3, 1, 12, 0, 0, 250_001, tzinfo=UTC)
    save(*(used(f"req-{n}", "chat", "llama", noon) for n in range(5)))
    query = {"since": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z", "limit": 2}
    seen, cursor = [], ""
    while cursor is not None:
        page = api("GET", "usage/records", cursor=cursor, **query).json()
        seen += [row["request_id"] for row in page["items"]]
        cursor = page["next_cursor"]
    assert seen == ["req-4", "req-3", "req-2", "req-1", "req-0"]
    is_problem(api("GET", "usage/records", cursor="Wzdd", **query), 422)


def test_a_record_is_found_by_our_id_and_by_the_clients(api) -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    save(*(used(f"req-{n}", "chat", "llama", noon, client_request_id=f"mine-{n % 2}") for n in range(3)))
    query = {"since": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z"}
    found = {
        name: [row["request_id"] for row in api.items("usage/records", request_id=name, **query)]
        for name in ("req-1", "mine-0", "nobodys")
    }
    assert found == {"req-1": ["req-1"], "mine-0": ["req-2", "req-0"], "nobodys": []}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"since": "2026-03-02T00:00:00Z", "until": "2026-03-01T00:00:00Z"}, "since"),
        ({"since": "2026-03-02T00:00:00"}, "since"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "since"),
        ({"until": "0001-01-01T00:00:00Z"}, "until"),
        ({"until": "9999-12-31T23:59:59Z"}, "until"),
        ({"since": "9999-12-31T00:00:00Z", "until": "9999-12-31T23:30:00Z"}, "since"),
        ({"since": "2020-03-02T00:00:00Z", "bucket": "minute"}, "bucket"),
        ({"bucket": "year"}, "bucket"),
    ],
)
def test_usage_that_cannot_be_summed_says_why(api, query, field) -> None:
    problem = is_problem(api("GET", "usage", **query), 422)
    assert problem["errors"][0]["field"] == field


def test_queues_are_the_live_picture(api, monkeypatch) -> None:
    pool = PoolPicture("main", "token_fair", 7, 2, 1500, 120.5, 0.98, (), ())
    monkeypatch.setattr(live, "read_picture_sync", lambda: Picture(1.5, 9, 1, (pool,)))
    picture = api("GET", "queues").json()
    assert (picture["revision"], picture["pools"][0]["queued"]) == (9, 7)
    assert api("GET", "queues/main").json()["oldest_wait_ms"] == 1500
    is_problem(api("GET", "queues/side"), 404)


def test_queues_are_empty_when_no_gateway_publishes(api, valkey) -> None:
    assert api("GET", "queues").json()["pools"] == []


@pytest.mark.parametrize("away", [RedisError("gone"), OperationalError("gone")])
def test_what_is_away_is_said_and_worth_a_retry(api, monkeypatch, away) -> None:
    def gone():
        raise away

    monkeypatch.setattr(live, "read_picture_sync", gone)
    answer = api("GET", "queues")
    is_problem(answer, 503)
    assert answer["Retry-After"] == "1"


def test_a_fault_of_ours_is_a_problem_without_its_inside(api, monkeypatch, caplog) -> None:
    def broken():
        raise ZeroDivisionError("inner workings")

    monkeypatch.setattr(live, "read_picture_sync", broken)
    assert "inner" not in is_problem(api("GET", "queues"), 500)["detail"]
    assert "inner workings" in caplog.text
