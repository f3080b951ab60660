"""The live queue page in a real browser: edits at once, and nothing overwritten under one's hands."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Locator, Page, expect

from scheduling import selectors, services

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True, serialized_rollback=True)]


def weight(page: Page, tenant: str) -> Locator:
    return page.get_by_role("spinbutton", name=f"Weight of {tenant}")


def test_a_weight_edited_in_one_browser_is_shown_in_another_within_a_second(open_page):
    mine, theirs = open_page("/queues/main/"), open_page("/queues/main/")
    expect(theirs.locator("#pulse")).to_have_attribute("data-state", "live")

    weight(mine, "greedy").fill("6")
    began_s = time.monotonic()
    weight(mine, "greedy").press("Enter")
    expect(mine.get_by_text("tenant greedy: weight 1 → 6")).to_be_visible()
    expect(weight(theirs, "greedy")).to_have_value("6")
    took_s = time.monotonic() - began_s

    assert took_s < 1.5  # the next frame, and two browsers on a busy machine
    assert selectors.policy().tenants["greedy"].weight == 6


def test_the_entitled_share_follows_the_weight(open_page):
    page = open_page("/queues/main/")
    expect(page.locator("#q-greedy-entitled")).to_have_text("25.0\N{NO-BREAK SPACE}%")

    page.get_by_label("Raise the weight of greedy").click()

    expect(weight(page, "greedy")).to_have_value("2")
    expect(page.locator("#q-greedy-entitled")).to_have_text("40.0\N{NO-BREAK SPACE}%")
    expect(page.locator("#q-greedy-applying")).to_have_text("")
    expect(page.get_by_label("Raise the weight of greedy")).to_be_focused()


def test_a_change_is_undone_from_its_toast(open_page):
    page = open_page("/queues/main/")
    page.get_by_label("Raise the weight of greedy").click()

    page.get_by_role("button", name="Undo").click()

    expect(page.get_by_text("put back tenant greedy: weight 2 → 1")).to_be_visible()
    expect(weight(page, "greedy")).to_have_value("1")


def test_a_bad_weight_is_refused_in_its_row(open_page):
    page = open_page("/queues/main/")
    field = weight(page, "greedy")
    field.evaluate("field => field.removeAttribute('max')")
    field.fill("5000")
    field.press("Enter")

    expect(page.locator("#q-greedy").get_by_role("alert")).to_contain_text("whole number from 1 to 1000")


def test_a_row_is_left_alone_while_somebody_types_in_it_and_put_right_after(open_page):
    page = open_page("/queues/main/")
    expect(page.locator("#pulse")).to_have_attribute("data-state", "live")
    field = weight(page, "greedy")
    field.fill("42")

    services.set_weight("greedy", 9, by="cli")
    services.set_weight("quiet-a", 9, by="cli")
    expect(weight(page, "quiet-a")).to_have_value("9")
    expect(field).to_have_value("42")
    expect(field).to_be_focused()

    field.press("Escape")
    page.locator("h1").click()
    expect(weight(page, "greedy")).to_have_value("9")


def test_the_fairness_is_switched_and_every_page_shows_it(open_page):
    page = open_page("/queues/main/")
    page.get_by_role("button", name="fifo").click()

    expect(page.get_by_role("button", name="fifo")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text("policy main: fairness token_fair → fifo")).to_be_visible()
    assert selectors.policy().pools["main"].fairness == "fifo"


def test_a_new_tenant_appears_without_a_reload(open_page):
    page = open_page("/queues/main/")
    expect(page.locator("#pulse")).to_have_attribute("data-state", "live")

    services.create_tenant("modest", by="cli")

    expect(page.locator("#queue-rows tr").nth(1)).to_have_id("q-modest")


def test_a_row_that_was_on_its_way_when_the_page_said_what_it_has_is_not_shown_twice(open_page):
    page = open_page("/queues/main/")
    expect(page.locator("#pulse")).to_have_attribute("data-state", "live")
    page.evaluate("document.getElementById('q-greedy').removeAttribute('data-sign')")  # not among what it has
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    services.create_tenant("modest", by="cli")

    expect(page.locator("[id='q-modest']")).to_have_count(1)

    expect(page.locator("[id='q-greedy']")).to_have_count(1)


def test_without_javascript_the_page_reads_and_edits(open_page):
    page = open_page("/queues/main/", java_script_enabled=False)
    weight(page, "greedy").fill("3")
    page.locator("#q-greedy").get_by_role("button", name="Save", exact=True).click()

    expect(weight(page, "greedy")).to_have_value("3")
    expect(page.get_by_text("tenant greedy: weight 1 → 3")).to_be_visible()


def test_a_viewer_sees_the_queue_with_every_control_off(open_page):
    page = open_page("/queues/main/", staff=False)

    expect(page.get_by_text("Read-only.")).to_be_visible()
    expect(weight(page, "greedy")).to_be_disabled()
    expect(page.get_by_role("button", name="fifo")).to_be_disabled()
