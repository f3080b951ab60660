"""The batches pages in a browser: they follow a running batch, at any width, and cancel it."""

from __future__ import annotations

import re

import pytest

from gateway.batches.models import Batch
from tests.fakes.batch_rows import make_batch

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True, serialized_rollback=True)]


def test_the_list_follows_a_batch_as_it_runs_and_fits_a_phone(open_page):
    row = make_batch("greedy", total=200, completed=40, failed=10, model="llama-3.1-8b")
    for status in ("validating", "completed", "failed", "expired", "cancelled"):
        make_batch("quiet-a", status, total=100, completed=100 if status == "completed" else 30)
    page = open_page("/batches/", viewport={"width": 390, "height": 800})

    line = page.get_by_role("row").filter(has_text=row.public_id)
    line.get_by_text("50 of 200").wait_for()
    Batch.objects.filter(pk=row.pk).update(completed=140, waits_for="queue_full")
    line.get_by_text("150 of 200").wait_for()

    assert "waits: queue full" in line.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.goto(f"/batches/{row.public_id}/")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_an_admin_cancels_a_batch_only_after_a_second_look(open_page):
    row = make_batch("greedy", total=200, completed=40)
    page = open_page(f"/batches/{row.public_id}/")
    page.get_by_role("button", name="Cancel it for greedy").wait_for(state="hidden")

    page.get_by_text("Cancel the batch…").click()
    page.get_by_role("textbox", name="Why").fill("wrong prompt")
    page.get_by_role("button", name="Cancel it for greedy").click()
    page.get_by_text(re.compile("cancelling")).first.wait_for()
    Batch.objects.filter(pk=row.pk).update(status="cancelled", ended_at=row.created_at)
    page.get_by_text("cancelled", exact=True).wait_for()

    assert page.get_by_text("Cancel the batch…").count() == 0
