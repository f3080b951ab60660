"""The tables that the migrations make are those that the models describe."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from scheduling import selectors


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
