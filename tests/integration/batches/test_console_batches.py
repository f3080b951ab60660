"""Batches on the console and over the control API."""

from __future__ import annotations

import pytest
from django.urls import reverse

from gateway.batches.models import Batch
from scheduling.models import Change
from tests.fakes.batch_rows import make_batch
from tests.integration.control_api.script import is_problem, with_scopes
from tests.scenes import text

pytestmark = pytest.mark.django_db

FAULT = {
    "line": 3,
    "code": "duplicate_custom_id",
    "message": "custom_id 'a' is <twice>.",
    "param": "custom_id",
}


def test_the_page_lists_batches_of_all_tenants_with_their_progress(console):
    make_batch("greedy", total=50_000, completed=12_000, failed=500, model="llama")
    make_batch("quiet-a", "completed", total=10, completed=10)

    whole = text(console.get(reverse("batches")))
    part = text(console.get(reverse("batch-list"), {"tenant": "quiet-a"}))

    assert 'width="25"' in whole
    assert "in progress" in whole
    assert "12000 of 50000" not in whole
    assert 'title="12500 of 50000"' in whole
    assert "quiet-a" in part
    assert "greedy" not in part
    assert "<h1>" not in part


def test_a_failed_batch_shows_its_faults_by_line_and_offers_no_cancel(console):
    row = make_batch("greedy", "failed", errors=[FAULT])

    page = text(console.get(reverse("batch", args=[row.public_id])))

    assert "custom_id &#x27;a&#x27; is &lt;twice&gt;." in page
    assert "Cancel the batch" not in page
    assert "hx-trigger" not in page.partition('id="batch-now"')[2]


def test_an_admin_cancels_a_batch_and_the_audit_says_who_and_why(console, visitor):
    row = make_batch("greedy")
    address = reverse("cancel-batch", args=[row.public_id])

    assert visitor.post(address).status_code == 403
    assert "Cancel it for greedy" in text(console.get(reverse("batch", args=[row.public_id])))
    console.post(address, {"why": "too big"})
    row.refresh_from_db()
    audit = text(console.get(reverse("audit")))

    assert row.status == Batch.Status.CANCELLING
    assert f"batch {row.public_id}" in audit
    change = Change.objects.get(noun="batch")
    assert (change.by, change.why, change.target) == ("admin:ada", "too big", row.public_id)
    assert "cancelling, so it cannot" in text(console.post(address, follow=True))


def test_a_page_that_watches_is_told_to_begin_anew_when_the_batch_has_ended(console):
    row = make_batch("greedy", "completed")

    assert console.get(reverse("batch-now", args=[row.public_id]))["HX-Refresh"] == "true"
    assert console.get(reverse("batch-now", args=["batch_none"])).status_code == 404


def test_the_control_api_lists_and_cancels_batches_by_scope(console):
    running, done = make_batch("greedy", total=5, completed=2), make_batch("quiet-a", "completed")
    reader, writer = with_scopes("batches:read"), with_scopes("batches:write")

    assert [each["id"] for each in reader.items("batches")] == [done.public_id, running.public_id]
    assert [each["id"] for each in reader.items("batches", status="in_progress")] == [running.public_id]
    assert [each["id"] for each in reader.items("batches", tenant="quiet-a")] == [done.public_id]
    assert reader("GET", f"batches/{running.public_id}").json()["completed"] == 2
    is_problem(reader("POST", f"batches/{running.public_id}/cancel", {}), 403)
    assert (
        writer("POST", f"batches/{running.public_id}/cancel", {"why": "wrong"}).json()["status"]
        == "cancelling"
    )
    is_problem(writer("POST", f"batches/{done.public_id}/cancel", {}), 409)
    is_problem(writer("POST", "batches/batch_none/cancel", {}), 404)


def test_what_a_client_noted_of_a_batch_is_shown_as_its_metadata(console):
    row = make_batch("greedy", metadata={"Tenant": "quiet-a"})

    assert "<dt>Metadata</dt><dd><code>Tenant</code>: quiet-a</dd>" in text(
        console.get(reverse("batch", args=[row.public_id]))
    )
