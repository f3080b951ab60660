"""What the console shows, through Django's whole stack."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse

from scheduling import selectors, services
from tests.scenes import text

pytestmark = pytest.mark.django_db

PAGES = {
    "overview": (),
    "queue": ("main",),
    "tenants": (),
    "new-tenant": (),
    "tenant": ("greedy",),
    "tokens": (),
    "backends": (),
    "new-backend": (),
    "backend": ("gpu-0",),
    "backend-chart": ("gpu-0",),
    "batches": (),
    "policies": (),
    "audit": (),
}


HTMX = {"HX-Request": "true"}


def addresses(*without: str) -> list[str]:
    return [reverse(name, args=args) for name, args in PAGES.items() if name not in without]


def test_every_page_stands_alone_and_htmx_gets_only_its_content(console):
    for address in addresses("backend-chart"):
        whole, part = console.get(address), console.get(address, headers=HTMX)

        assert (whole.status_code, part.status_code) == (200, 200), address
        assert "<html" in text(whole), address
        assert "<html" not in text(part), address
        assert "<h1>" in text(part), address
        assert "HX-Request" in whole["Vary"], address


def test_no_page_holds_an_inline_script_or_style(console):
    for address in addresses():
        page = console.get(address)

        assert "script-src 'self'" in page["Content-Security-Policy"], address
        inline = re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", text(page))
        assert not inline, address


def test_who_is_not_signed_in_is_sent_to_the_door(db):
    for address in addresses():
        assert Client().get(address).headers["Location"] == f"{reverse('sign-in')}?next={address}"
        assert Client().get(address, headers=HTMX).headers["HX-Redirect"] == reverse("sign-in")


def test_a_viewer_sees_every_page_read_only(visitor):
    for address in addresses("backend-chart"):
        assert "Read-only" in text(visitor.get(address)), address


def test_the_audit_is_filtered_by_its_address(console):
    services.set_weight("quiet-a", 9, by="cli", why="a trial")

    found = text(console.get(reverse("audit"), {"noun": "tenant", "target": "quiet-a", "by": "cli"}))

    assert "a trial" in found
    assert "gpu-0" not in found
    assert "No change matches" in text(console.get(reverse("audit"), {"target": "nobody"}))


def test_tenants_are_searched_by_slug(console):
    found = text(console.get(reverse("tenants"), {"q": "quiet"}))

    assert "t-quiet-a" in found
    assert "t-greedy" not in found
    assert "No tenant has" in text(console.get(reverse("tenants"), {"q": "zzz"}))


def test_the_pages_stand_on_an_empty_product(admin, valkey):
    client = Client()
    client.force_login(admin)

    assert "begin here" in text(client.get(reverse("overview")))
    assert "There is no pool yet" in text(client.get(reverse("queues")))
    assert "There is no tenant yet" in text(client.get(reverse("tenants")))
    assert "There is no backend yet" in text(client.get(reverse("backends")))
    assert "There is no pool yet" in text(client.get(reverse("policies")))
    assert "No gateway" in text(client.get(reverse("overview")))


def test_the_pages_stand_without_valkey(console, monkeypatch, settings):
    def away(*args):
        raise ConnectionError("refused")

    monkeypatch.setattr("dashboard.sources.read_picture_sync", away)
    monkeypatch.setattr("dashboard.sources.demo.state", away)

    assert "No gateway" in text(console.get(reverse("overview")))
    assert "q-greedy" in text(console.get(reverse("queue", args=["main"])))


def test_the_theme_is_kept_and_rendered_by_the_server(console):
    console.post(reverse("theme"), {"theme": "dark"})
    assert 'data-theme="dark"' in text(console.get(reverse("overview")))

    console.post(reverse("theme"), {"theme": "system"})
    assert "data-theme" not in text(console.get(reverse("overview")))


@pytest.mark.parametrize("address", ["/audit/?target=%00", "/audit/?noun=%00", "/tokens/?tenant=%00"])
def test_a_filter_that_no_row_can_hold_is_refused_and_no_fault_of_ours(console, address):
    answer = console.get(address)

    assert answer.status_code == 400
    assert "U+0000" in text(answer)


def test_an_edit_with_a_text_that_no_row_can_hold_is_refused(console):
    for name, args, form in (
        ("tenant-state", ["greedy"], {"state": "paused", "why": "a\0b"}),
        ("tenant-quota", ["greedy"], {"remove": "queued", "model": "\0"}),
        ("delete-alias", [], {"name": "\0"}),
    ):
        assert console.post(reverse(name, args=args), form).status_code == 400, name
    assert not selectors.policy().tenants["greedy"].paused
