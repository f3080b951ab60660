"""Two admins with the same page open: what one of them changed, the other's form does not put back."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from django.urls import reverse

from scheduling import selectors, services
from tests import scenes
from tests.scenes import text

pytestmark = pytest.mark.django_db


class Fields(HTMLParser):
    """What a browser would send of one form of a page, by its address."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address, self._inside, self._select = address, False, ""
        self.sent: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag == "form":
            self._inside = said.get("action", "") == self._address
        if not self._inside:
            return
        name, ticked = (
            said.get("name") or "",
            said.get("type") not in ("radio", "checkbox") or "checked" in said,
        )
        if tag == "input" and name and ticked:
            self.sent[name] = said.get("value") or ""
        elif tag == "textarea":
            self.sent[name] = ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and ("selected" in said or self._select not in self.sent):
            self.sent[self._select] = said.get("value") or ""


def filled(console, page: str, address: str) -> dict[str, str]:
    fields = Fields(address)
    fields.feed(text(console.get(page)))
    return fields.sent


def test_a_tenants_settings(console):
    page, address = (reverse(name, args=["greedy"]) for name in ("tenant", "tenant-settings"))
    form = filled(console, page, address)
    services.set_class("greedy", "batch", by="admin:bob")

    console.post(address, {**form, "name": "Greedy Ltd"})

    row = selectors.tenants().get(slug="greedy")
    assert (row.name, row.priority_class.name) == ("Greedy Ltd", "batch")


def test_a_backends_settings(console):
    address = reverse("backend", args=["gpu-0"])
    form = filled(console, address, "")
    services.change_backend("gpu-0", by="admin:bob", max_in_flight=7, models=[scenes.MODEL])

    answer = console.post(address, {**form, "kv_tokens": "9000"})

    row = selectors.backends().get(name="gpu-0")
    assert answer.status_code == 302
    assert (row.kv_tokens, row.max_in_flight) == (9000, 7)
    assert [model.name for model in row.served_models.all()] == [scenes.MODEL]


def test_a_pools_policy(console):
    address = reverse("change-policy", args=["main"])
    form = filled(console, reverse("policies"), address)
    services.set_policy("main", by="admin:bob", admission="static_cap", counts_sent=True, stale="closed")

    console.post(address, {**form, "main-window_requests": "9", "main-stale": "open"})

    row = selectors.policies().get(pool__name="main")
    assert (row.window_requests, row.admission, row.counts_sent) == (9, "static_cap", True)
    assert row.stale == "open", "both changed it: the last one holds, and the audit has both"


def test_an_aliass_lists(console):
    services.create_model("next", "main", by="cli")
    services.create_alias("best", {scenes.MODEL: 1}, by="cli")
    address = reverse("change-alias")
    form = filled(console, reverse("backends"), address)
    services.change_alias("best", by="admin:bob", fallbacks=["next"])

    console.post(address, {**form, "targets": f"{scenes.MODEL}=3"})

    alias = selectors.aliases().get(name="best")
    assert (services.targets_of(alias), services.fallbacks_of(alias)) == ({scenes.MODEL: 3}, ["next"])


def test_a_field_that_is_emptied_is_a_change(console):
    services.change_backend("gpu-0", by="cli", max_in_flight=7, kv_tokens=9000)
    address = reverse("backend", args=["gpu-0"])
    form = filled(console, address, "")

    console.post(address, {**form, "max_in_flight": ""})

    row = selectors.backends().get(name="gpu-0")
    assert (row.max_in_flight, row.kv_tokens) == (None, 9000)


def test_a_refused_form_still_knows_what_it_showed(console):
    address = reverse("backend", args=["gpu-0"])
    form = filled(console, address, "")
    refused = Fields("")
    refused.feed(text(console.post(address, {**form, "kv_tokens": "none"})))
    services.change_backend("gpu-0", by="admin:bob", max_in_flight=7)

    console.post(address, {**refused.sent, "kv_tokens": "9000"})

    row = selectors.backends().get(name="gpu-0")
    assert (row.kv_tokens, row.max_in_flight) == (9000, 7)
