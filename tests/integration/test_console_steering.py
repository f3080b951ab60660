"""Suspending, pausing and boosting in the console: what is done, what is shown, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from dashboard.words import TIMES
from scheduling import selectors, services
from tests.scenes import text

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


def test_a_suspended_tenant_is_said_to_be_suspended_until_it_is_resumed(console):
    console.post(reverse("tenant-state", args=["greedy"]), {"state": "suspended", "why": "unpaid"})
    assert "suspended" in text(console.get(reverse("queue", args=["main"])))
    assert selectors.changes()[0].why == "unpaid"

    console.post(reverse("tenant-state", args=["greedy"]), {"state": "active"})
    assert not selectors.policy().tenants["greedy"].suspended


def test_a_paused_tenant_is_said_to_be_paused_until_it_is_resumed(console):
    console.post(reverse("tenant-state", args=["greedy"]), {"state": "paused"})
    rule = selectors.policy().tenants["greedy"]
    assert (rule.paused, rule.suspended) == (True, False)
    assert 'class="state warn">paused<' in text(console.get(reverse("queue", args=["main"])))
    assert "Resume</button>" in text(console.get(reverse("tenant", args=["greedy"])))

    console.post(reverse("tenant-state", args=["greedy"]), {"state": "active"})
    assert not selectors.policy().tenants["greedy"].paused


def test_a_pool_is_paused_and_resumed_on_its_queue_page(console):
    address, queue = reverse("pool-state", args=["main"]), reverse("queue", args=["main"])

    console.post(address, {"paused": "yes"}, headers=HTMX)
    assert selectors.policy().pools["main"].paused
    shown = text(console.get(queue))
    assert 'id="pool_pause" value="no">Resume pool<' in shown
    assert "The gateway still seats requests." in shown
    assert 'class="state warn">paused<' in text(console.get(reverse("overview")))

    console.post(address, {"paused": "no"}, headers=HTMX)
    assert not selectors.policy().pools["main"].paused
    assert 'id="pool_pause" value="yes">Pause pool<' in text(console.get(queue))


def test_a_boost_is_given_with_its_end_shown_and_ended_early(console):
    address, page = reverse("tenant-boost", args=["greedy"]), reverse("tenant", args=["greedy"])

    console.post(address, {"factor": "3", "minutes": "30"})
    rule = selectors.policy().tenants["greedy"]
    assert 29 * 60 < rule.boost_until_s - timezone.now().timestamp() <= 30 * 60
    until = f"{TIMES}3 until {datetime.fromtimestamp(rule.boost_until_s, UTC):%H:%M}"
    assert until in text(console.get(page))
    assert until in text(console.get(reverse("queue", args=["main"])))
    assert until in text(console.get(reverse("tenants")))

    console.post(address, {"end": "now"})
    assert selectors.policy().tenants["greedy"].boost == 1
    assert "End the boost now" not in text(console.get(page))


def test_a_boost_that_has_ended_is_said_to_have_and_has_no_end_button(console):
    services.set_boost("greedy", 3, timezone.now() - timedelta(hours=2), by="cli")

    shown = text(console.get(reverse("tenant", args=["greedy"])))
    assert f"{TIMES}3 ended 2\N{NO-BREAK SPACE}h ago" in shown
    assert "End the boost now" not in shown
    assert f"{TIMES}3" not in text(console.get(reverse("queue", args=["main"])))


@pytest.mark.parametrize(("field", "value"), [("factor", "101"), ("factor", "1"), ("minutes", "1441")])
def test_a_boost_out_of_range_is_refused_at_its_field(console, field, value):
    form = {"factor": "2", "minutes": "5", field: value}
    answer = console.post(reverse("tenant-boost", args=["greedy"]), form)

    assert answer.status_code == 422
    assert f'id="id_{field}_error"' in text(answer)
    assert selectors.policy().tenants["greedy"].boost == 1
