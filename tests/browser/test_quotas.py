"""Quotas on a tenant's page, in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from scheduling import selectors
from tests import scenes

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True, serialized_rollback=True)]


def test_a_quota_is_set_for_one_model_changed_in_its_row_and_removed(open_page):
    page = open_page("/tenants/greedy/")
    page.get_by_label("Kind").select_option("tokens_per_minute")
    page.get_by_label("Model").select_option(scenes.MODEL)
    page.get_by_label("Limit", exact=True).fill("60000")
    page.get_by_role("button", name="Set the quota").click()

    limit = page.get_by_label(f"Limit of tokens per minute for {scenes.MODEL}")
    expect(limit).to_have_value("60000")
    limit.fill("90000")
    page.get_by_label("When tokens per minute are used up").select_option("refuse")
    page.get_by_role("button", name="Save", exact=True).first.click()
    expect(limit).to_have_value("90000")
    rule = selectors.policy().tenants["greedy"]
    assert dict(rule.model_quotas[scenes.MODEL]) == {"tokens_per_minute": 90_000}
    assert rule.refusing[scenes.MODEL] == {"tokens_per_minute"}

    page.get_by_role("button", name="Remove").click()
    expect(limit).to_have_count(0)
