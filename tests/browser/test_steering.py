"""Pausing and boosting in a real browser: shown live, and taken back by whoever regrets it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from dashboard.words import TIMES
from scheduling import selectors

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True, serialized_rollback=True)]


def test_a_pool_is_paused_for_everybody_who_looks_and_resumed(open_page):
    mine, theirs = open_page("/queues/main/"), open_page("/queues/main/")
    expect(theirs.locator("#pulse")).to_have_attribute("data-state", "live")

    mine.get_by_role("button", name="Pause pool").click()
    expect(mine.get_by_text("policy main: paused false → true")).to_be_visible()
    for page in (mine, theirs):
        expect(page.locator("#pool_state")).to_have_text("paused")

    theirs.get_by_role("button", name="Resume pool").click()
    expect(mine.get_by_role("button", name="Pause pool")).to_be_visible()
    assert not selectors.policy().pools["main"].paused


def test_a_tenant_is_paused_and_goes_on(open_page):
    page = open_page("/tenants/greedy/")
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.locator("#tenant_state")).to_have_text("paused")

    page.get_by_role("button", name="Resume", exact=True).click()
    expect(page.locator("#tenant_state")).to_have_text("waiting")


def test_a_boost_is_given_shown_in_the_queue_and_ended(open_page):
    queue, page = open_page("/queues/main/"), open_page("/tenants/greedy/")
    until = re.compile(f"^{TIMES}3 until \\d\\d:\\d\\d")

    page.get_by_label("Factor").fill("3")
    page.get_by_role("button", name="Boost greedy").click()
    expect(page.locator("#tenant_boost")).to_have_text(until)
    expect(queue.locator("#q-greedy-boost")).to_have_text(until)

    page.get_by_role("button", name="End the boost now").click()
    expect(page.locator("#tenant_boost")).to_have_text("")
    expect(queue.locator("#q-greedy-boost")).to_have_text("")
