"""What only shows when transactions really end: who is woken, and that no write is lost."""

from __future__ import annotations

import threading

import psycopg
import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction

from scheduling import models, services
from tests.integration.services.rules import BY, written


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
class TestCommitted:
    """What only shows when transactions really end."""

    @pytest.fixture
    def heard(self):
        info = connection.settings_dict
        with psycopg.connect(
            host=info["HOST"], user=info["USER"], dbname=info["NAME"], autocommit=True
        ) as listening:
            listening.execute("LISTEN fairlane_revision")
            listening.execute("LISTEN fairlane_command")
            yield lambda: [each.channel for each in listening.notifies(timeout=0.2)]

    def test_a_write_wakes_who_listens_once_it_is_committed(self, heard) -> None:
        with transaction.atomic():
            services.create_tenant("chat", by=BY)
            services.set_weight("chat", 2, by=BY)
            assert heard() == []
        assert heard() == ["fairlane_revision"]  # two writes, one wake-up: it carries no data

        services.send_command("cancel", "req-1", by=BY)
        assert heard() == ["fairlane_command"]

    def test_a_failed_write_leaves_nothing_and_wakes_nobody(self, heard) -> None:
        before = written()
        with pytest.raises(ValidationError):
            services.create_tenant("chat", by=BY, quotas={"in_flight": 0})
        assert written() == before
        assert not models.Tenant.objects.exists()
        assert heard() == []

    def test_writers_at_the_same_time_lose_nothing(self) -> None:
        names = [f"tenant-{number}" for number in range(4)]
        for name in names:
            services.create_tenant(name, by=BY)
        revision, changes = written()
        failures: list[BaseException] = []

        def write(name: str) -> None:
            try:
                for value in range(2, 7):
                    services.set_weight(name, value, by=BY)
                    services.set_quota("tenant-0", "queued", value, by=name)
            except BaseException as failure:
                failures.append(failure)
            finally:
                connection.close()

        threads = [threading.Thread(target=write, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert failures == []
        made = models.Change.objects.filter(revision__gt=revision).order_by("id")
        assert [change.revision for change in made] == list(range(revision + 1, revision + 1 + len(made)))
        assert written() == (revision + len(made), changes + len(made))
        quota = [change for change in made if change.noun == "quota"]
        # each writer saw exactly what the one before it left
        assert [change.before for change in quota[1:]] == [change.after for change in quota[:-1]]
