"""Adding an engine after a look at it, and choosing how it is fed, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from scheduling import selectors, services
from scheduling.engines import connect
from scheduling.engines.connect import ConnectReport, ConnectStep
from tests import scenes

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True, serialized_rollback=True)]

STEPS = (
    ConnectStep("dns", ok=True, detail="127.0.0.1"),
    ConnectStep("metrics", ok=False, detail="404 at /metrics", mend="Start the engine with --metrics."),
)


def test_the_connect_test_shows_steps_and_mends_and_fills_in_the_engine(open_page, monkeypatch):
    report = ConnectReport(STEPS, engine="llamacpp", models=("tiny",), signals=("running",))
    monkeypatch.setattr(connect, "test", lambda endpoint: report)
    page = open_page("/new-backend/")
    page.get_by_label("Name").fill("cpu-0")
    page.get_by_label("URL").fill("http://127.0.0.1:9")
    expect(page.get_by_label("Engine", exact=True)).to_have_value("vllm")

    page.get_by_role("button", name="Test the connection").click()

    expect(page.get_by_text("Start the engine with --metrics.")).to_be_visible()
    expect(page.get_by_label("Engine", exact=True)).to_have_value("llamacpp")
    page.get_by_role("button", name="Add the backend").click()
    expect(page.locator("#fact_cap")).to_have_text(re.compile("^32 until the engine says"))
    rule = selectors.policy().backends["cpu-0"]
    assert (rule.engine, rule.learns_cap) == ("llamacpp", True)


def test_a_law_is_chosen_by_its_sentence_and_taken_back(open_page):
    page = open_page("/policies/")
    pool = page.locator("section", has=page.get_by_role("heading", name="Pool main"))
    pool.get_by_text("a herd gets in between two readings, unless").click()
    pool.get_by_role("button", name="Save the policy of main").click()

    expect(page.get_by_text("policy main: admission first_token_window → queue_target")).to_be_visible()
    assert selectors.policy().pools["main"].admission == "queue_target"
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("put back policy main")).to_be_visible()
    assert selectors.policy().pools["main"].admission == "first_token_window"


def test_a_mode_that_the_engines_cannot_follow_is_refused_at_its_field(open_page):
    services.change_backend("gpu-0", by="cli", engine="ollama")
    page = open_page("/policies/")
    pool = page.locator("section", has=page.get_by_role("heading", name="Pool main"))
    pool.get_by_role("radio", name="Alone").check()
    pool.get_by_role("button", name="Save the policy of main").click()

    expect(page.locator('[id="id_main-engine_priority_error"]')).to_contain_text("The engine of gpu-0")
    assert selectors.policy().pools["main"].engine_priority == "off"


def test_a_backend_that_somebody_else_drained_is_resumed_from_the_row_that_the_feed_put_there(open_page):
    page = open_page("/backends/")
    expect(page.locator("#pulse")).to_have_attribute("data-state", "live")
    services.drain_backend("gpu-0", by="admin:bob")

    page.get_by_role("button", name="Resume gpu-0").click()

    expect(page.get_by_role("button", name="Drain gpu-0")).to_be_visible()
    assert not selectors.policy().backends["gpu-0"].draining


def test_a_canary_is_made_and_turned_up(open_page):
    services.create_model("next", "batch", by="cli")
    page = open_page("/backends/")
    new = page.get_by_role("group", name="New alias")
    new.get_by_label("Name").fill("chat")
    new.get_by_label("Targets").fill(f"{scenes.MODEL}=95, next=5")
    new.get_by_role("button", name="Make the alias").click()
    expect(page.get_by_text("alias chat created")).to_be_visible()

    mine = page.get_by_role("group", name="chat", exact=True)
    mine.get_by_label("Targets").fill(f"{scenes.MODEL}=50, next=50")
    mine.get_by_role("button", name="Save the alias").click()
    expect(page.get_by_text("alias chat: targets")).to_be_visible()
    assert dict(selectors.policy().routes["chat"].targets) == {scenes.MODEL: 50, "next": 50}


@pytest.mark.parametrize("address", ["/backends/", "/backends/gpu-0/", "/new-backend/", "/policies/"])
def test_no_page_is_wider_than_a_phone(open_page, address):
    page = open_page(address, viewport={"width": 400, "height": 800})
    expect(page.locator("h1")).to_be_visible()
    if page.locator("#pulse").count():
        expect(page.locator("#pulse")).to_have_attribute("data-state", "live")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
