"""Every page in a real browser: it is right, it keeps the content policy, and it asks nobody else."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from playwright.sync_api import expect

from tests import scenes
from tests.fakes.usage import save, used

WIDER_TABLES = """[...document.querySelectorAll(".scroll")]
    .filter(box => box.scrollWidth > box.clientWidth).map(box => box.innerText)"""

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True, serialized_rollback=True)]


def test_a_set_up_link_leads_in_and_signing_out_leads_back(open_page):
    user = User.objects.create_user("new", is_staff=True)
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    link = f"/welcome/{uid}/{default_token_generator.make_token(user)}/"

    page = open_page(link, signed_in=False)
    page.get_by_label("New password", exact=True).fill(scenes.PASSWORD)
    page.get_by_label("New password confirmation").fill(scenes.PASSWORD)
    page.get_by_role("button", name="Set the password").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()

    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Username").fill("new")
    page.get_by_label("Password").fill(scenes.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def test_the_overview_says_how_things_stand_and_stays_live(open_page, valkey):
    page = open_page("/")

    expect(page.locator("#verdict")).to_contain_text("main has 123 requests waiting")
    expect(page.locator("#pulse")).to_have_attribute("data-state", "live")
    expect(page.locator("#pulse-age")).to_have_text(re.compile(r"· data \d+\.\d s old"))
    expect(page.locator("#b-gpu-0-state")).to_have_text("open")


def test_a_field_that_is_wrong_turns_red_and_says_what_to_do(open_page):
    page = open_page("/tokens/", viewport={"width": 400, "height": 900})
    page.get_by_label("Name", exact=True).fill("web")
    field, problem = page.get_by_label("Status line after"), page.get_by_role("alert")
    field.fill("-1")
    page.get_by_role("button", name="Issue", exact=True).click()

    expect(problem).to_contain_text("Write seconds from 0, or inf for never")
    red = problem.evaluate("element => getComputedStyle(element).color")
    expect(field).to_have_css("border-top-color", red)
    assert problem.bounding_box()["x"] == problem.locator("li").bounding_box()["x"]
    field.fill("0")
    page.get_by_role("button", name="Issue", exact=True).click()
    page.get_by_role("link", name="API tokens").click()
    expect(page.get_by_text("status line at once")).to_be_visible()


def test_a_tenant_is_created_found_and_suspended(open_page):
    page = open_page("/tenants/")
    page.get_by_role("link", name="New tenant").click()
    page.get_by_label("Slug").fill("acme")
    page.get_by_label("In flight").fill("8")
    page.get_by_role("button", name="Create the tenant").click()
    expect(page.get_by_role("heading", name="Tenant acme")).to_be_visible()
    page.get_by_text("Suspend…").click()
    page.get_by_role("button", name="Suspend acme").click()
    expect(page.locator("#tenant_state")).to_have_text("suspended")

    page.get_by_role("link", name="Tenants").click()
    page.get_by_label("Search tenants").press_sequentially("acm")
    expect(page.locator("#tenant-rows tr")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"q=acm"))
    expect(page.get_by_label("Search tenants")).to_be_focused()


def test_an_api_token_is_issued_copied_and_revoked(open_page, console_url):
    page = open_page("/tokens/")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=console_url)
    page.get_by_label("Name").fill("ci")
    page.get_by_role("button", name="Issue").click()
    secret = page.locator("#secret").inner_text()
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == secret

    page.get_by_role("link", name="I saved it").click()
    page.get_by_text("Revoke…").click()
    page.get_by_role("button", name="Revoke ci").click()
    expect(page.get_by_text("API token greedy/ci revoked")).to_be_visible()
    expect(page.get_by_text("None yet.")).to_be_visible()


def test_a_backend_is_added_with_a_clear_error_first_and_then_drained(open_page):
    page = open_page("/backends/")
    page.get_by_role("link", name="Add a backend").click()
    page.get_by_label("Name", exact=True).fill("gpu-2")
    page.get_by_label("URL").fill("ftp://somewhere")
    page.get_by_role("button", name="Add the backend").click()
    expect(page.locator("#id_url_error")).to_be_visible()
    page.get_by_label("URL").fill("http://127.0.0.1:9003")
    page.get_by_role("button", name="Add the backend").click()
    expect(page.get_by_role("heading", name="Backend gpu-2")).to_be_visible()
    expect(page.get_by_text("No reading in the last 15 minutes")).to_be_visible()

    page.get_by_role("link", name="Backends").click()
    page.get_by_role("button", name="Drain gpu-0").click()
    expect(page.locator("#b-gpu-0-state")).to_have_text("draining")
    expect(page.locator("#b-gpu-0-drain")).to_have_text("5 requests still running")


def test_a_policy_is_saved_and_taken_back_on_the_audit_page(open_page):
    page = open_page("/policies/")
    form = page.locator("form", has=page.get_by_role("button", name="Save the policy of main"))
    form.get_by_label("Window", exact=True).fill("7")
    page.get_by_role("button", name="Save the policy of main").click()
    expect(page.get_by_text("policy main: window requests 3 → 7")).to_be_visible()

    page.get_by_role("link", name="Audit").click()
    page.get_by_label("What kind").select_option("policy")
    expect(page).to_have_url(re.compile(r"noun=policy"))
    page.get_by_role("button", name=re.compile("Undo: policy main")).click()
    expect(page.get_by_text("put back policy main: window requests 7 → 3")).to_be_visible()


def test_the_theme_is_dark_when_asked_for(open_page):
    page = open_page("/")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Dark").click()

    expect(page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


def test_no_page_is_wider_than_a_phone(open_page):
    save(used("a", "greedy", scenes.MODEL, timezone.now()))
    page = open_page("/", viewport={"width": 400, "height": 800})
    for address in (
        "/",
        "/queues/main/",
        "/tenants/",
        "/tenants/greedy/",
        "/tokens/",
        "/backends/",
        "/backends/gpu-0/",
        "/policies/",
        "/audit/",
    ):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400, address
        assert page.evaluate(WIDER_TABLES) == [], address
