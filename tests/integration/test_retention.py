"""The months of usage records: made ahead, filled from the rest, and dropped in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from config import doctor
from config.trouble import Trouble
from gateway import retention
from gateway.models import DailyUsage, HourlyUsage, UsageRecord
from gateway.tasks import sum_up_usage, tend_usage_records
from tests.fakes.usage import save, used

pytestmark = pytest.mark.django_db

NOW = datetime(2031, 2, 10, 15, tzinfo=UTC)
DAY = timedelta(days=1)


def rows_of(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return cursor.fetchone()[0]


def test_the_months_of_today_and_of_a_quarter_ahead_are_there_from_the_beginning() -> None:
    this = retention.month_after(datetime.now(UTC), 0)
    assert {retention.month_after(this, n) for n in range(3)} <= set(retention.months())


def test_a_record_for_which_there_is_no_month_is_kept_and_moves_when_the_month_is_made() -> None:
    save(used("a", "chat", "m", NOW), used("old", "chat", "m", NOW - 90 * DAY))
    assert rows_of(retention.REST) == 2
    retention.tend(NOW, 0)
    assert [rows_of(f"{retention.TABLE}_{month}") for month in ("2030_11", "2031_02", "2031_05")] == [1, 1, 0]
    assert rows_of(retention.REST) == 0
    save(used("a", "chat", "m", NOW), used("b", "chat", "m", NOW))
    assert sorted(UsageRecord.objects.values_list("request_id", flat=True)) == ["a", "b", "old"]


def test_records_go_when_they_are_older_than_may_be_and_days_stay() -> None:
    ages = (0, 7, 9, 40, 400)  # 9 days ago is in the month that stays
    save(*(used(f"{age} days", "chat", "m", NOW - age * DAY) for age in ages))
    retention.tend(NOW, 0)
    assert UsageRecord.objects.count() == len(ages)
    retention.tend(NOW, 8)
    assert set(UsageRecord.objects.values_list("request_id", flat=True)) == {"0 days", "7 days"}
    assert datetime(2031, 2, 1, tzinfo=UTC) in retention.months()
    assert datetime(2031, 1, 1, tzinfo=UTC) not in retention.months()
    assert DailyUsage.objects.count() == len(ages)


def test_hours_are_forgotten_with_their_records() -> None:
    save(used("new", "chat", "m", NOW), used("old", "chat", "m", NOW - 20 * DAY))
    sum_up_usage()
    retention.tend(NOW, 10)
    assert [row.at.date() for row in HourlyUsage.objects.all()] == [NOW.date()]
    assert DailyUsage.objects.count() == 2


def test_a_months_partition_keeps_a_request_once_like_the_whole_table() -> None:
    retention.make(retention.month_after(NOW, 0))
    for _ in range(2):
        save(used("a", "chat", "m", NOW))
    assert UsageRecord.objects.count() == 1


def test_a_months_rules_are_the_tables_and_change_with_them() -> None:
    retention.make(retention.month_after(NOW, 0))
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE gateway_usagerecord DROP CONSTRAINT usage_outcome_is_known")
    save(used("a", "chat", "m", NOW, outcome="one that is not known yet"))
    assert rows_of(f"{retention.TABLE}_2031_02") == 1


def test_the_task_tends_the_table_by_the_knob(settings) -> None:
    save(used("old", "chat", "m", datetime.now(UTC) - 3 * DAY), used("new", "chat", "m", datetime.now(UTC)))
    settings.KNOBS = settings.KNOBS | {"FAIRLANE_RECORD_DAYS": 2}
    tend_usage_records()
    assert [row.request_id for row in UsageRecord.objects.all()] == ["new"]


def test_the_doctor_finds_a_month_without_a_partition() -> None:
    retention.tend(datetime.now(UTC), 0)
    assert doctor.usage_months().endswith(f"{retention.months()[-1]:%Y-%m}")
    following = retention.month_after(datetime.now(UTC), 1)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {retention.TABLE}_{following:%Y_%m}")

    with pytest.raises(Trouble, match=f"{following:%Y-%m} has no partition"):
        doctor.usage_months()
