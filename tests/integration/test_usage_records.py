"""Usage records in the real Postgres: each request once, however often it is given."""

from __future__ import annotations

import time

import pytest
from django.db import connection, connections

from gateway.headers import RequestId
from gateway.journal import REJECTED, Journal
from gateway.models import UsageRecord
from gateway.records import COLUMNS, Away, Record, Unstorable, store
from gateway.selectors import record_of
from tests.fakes.gateway import MODEL

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


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


def test_one_record_is_found_by_its_owner_by_our_id_and_by_the_clients():
    now = time.time()
    ours = [RequestId.of({b"x-request-id": b"mine"}).own for _ in range(2)]
    for age_s, name in enumerate(ours):
        store([record(name, accepted_at=now - age_s, client_request_id="mine")])
    assert record_of(ours[1], "research").request_id == ours[1]
    assert record_of("mine", "research").request_id == ours[0]
    assert record_of(ours[0], "chat") is None
    assert record_of("another", "research") is None


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
