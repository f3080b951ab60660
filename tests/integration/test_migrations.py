"""The tables that the migrations make are those that the models describe."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from gateway.models import DailyUsage, HourlyUsage, UsageRecord
from gateway.retention import months
from scheduling import selectors

JULY = datetime(2026, 7, 31, 23, 30, tzinfo=UTC)


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_backends_and_policies_of_the_release_before_keep_what_was_set() -> None:
    executor = MigrationExecutor(connection)
    executor.migrate([("scheduling", "0006_commands")])
    try:
        old = executor.loader.project_state([("scheduling", "0006_commands")]).apps
        pool = old.get_model("scheduling", "Pool").objects.create(name="old")
        old.get_model("scheduling", "Backend").objects.create(name="b", pool=pool, url="http://h")
        old.get_model("scheduling", "SchedulingPolicy").objects.create(pool=pool, admission="static_cap")
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())

    backend, rule = selectors.policy().backends["b"], selectors.policy().pools["old"]
    assert (backend.max_in_flight, backend.learns_cap, backend.kv_tokens) == (32, False, None)
    assert (rule.admission, rule.kv_fill_percent, rule.engine_priority) == ("static_cap", 100, "off")


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_usage_records_of_the_release_before_keep_their_figures_and_get_their_month() -> None:
    before = [("gateway", "0002_quotas_and_spend")]
    executor = MigrationExecutor(connection)
    newest = executor.loader.graph.leaf_nodes()
    executor.migrate(before)
    try:
        old = executor.loader.project_state(before).apps.get_model("gateway", "UsageRecord")
        same = {"tenant": "chat", "model": "m", "priority_class": "standard", "endpoint": "/v1/completions"}
        same |= {"stream": True, "status": 200, "outcome": "ok", "prompt_tokens": 10, "cost": 10}
        old.objects.bulk_create(
            [
                old(request_id="req_1", accepted_at=JULY, ended_at=JULY + timedelta(hours=1), **same),
                old(request_id="trace-1~ab", accepted_at=JULY, ended_at=JULY, api_token_id=3, **same),
                old(request_id="req_2", accepted_at=JULY + timedelta(hours=1), ended_at=JULY, **same),
            ]
        )
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(newest)

    rows = UsageRecord.objects.order_by("request_id")
    assert list(rows.values_list("request_id", "client_request_id", "accepted_at", "api_token_id")) == [
        ("req_1", "", JULY, None),
        ("req_2", "", JULY + timedelta(hours=1), None),
        ("trace-1~ab", "trace-1", JULY, 3),
    ]
    assert {month.month for month in months()} >= {7, 8}
    hours = HourlyUsage.objects.order_by("at", "api_token_id").values_list("at__hour", "requests", "cost")
    assert list(hours) == [(23, 1, 10), (23, 1, 10), (0, 1, 10)]
    assert [row.counted_tokens for row in DailyUsage.objects.order_by("at", "api_token_id")] == [10, 10, 10]

    executor = MigrationExecutor(connection)
    try:
        executor.migrate(before)
        back = executor.loader.project_state(before).apps.get_model("gateway", "UsageRecord")
        assert sorted(back.objects.values_list("request_id", flat=True)) == ["req_1", "req_2", "trace-1~ab"]
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(newest)
