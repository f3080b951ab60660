"""What an admin changes in the console, and what a viewer cannot."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from gateway import selectors as gateway_selectors
from gateway import services as gateway_services
from scheduling import selectors, services
from tests import scenes
from tests.fakes.usage import save, used
from tests.scenes import text

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}

EDITS = {
    "tenant-weight": ("greedy",),
    "tenant-state": ("greedy",),
    "tenant-settings": ("greedy",),
    "tenant-quota": ("greedy",),
    "tenant-boost": ("greedy",),
    "pool-state": ("main",),
    "new-tenant": (),
    "tokens": (),
    "queue-fairness": ("main",),
    "backend-state": ("gpu-0",),
    "backend": ("gpu-0",),
    "new-backend": (),
    "new-pool": (),
    "new-model": (),
    "change-policy": ("main",),
    "connect-test": (),
    "new-alias": (),
    "change-alias": (),
    "delete-alias": (),
    "change-fallbacks": (),
    "demo-start": (),
    "demo-stop": (),
    "undo": (1,),
    "revoke-token": (1,),
}


def test_a_viewer_cannot_edit(visitor):
    before = selectors.revision()

    for name, args in EDITS.items():
        answer = visitor.post(reverse(name, args=args), {"weight": "9", "state": "suspended"})
        assert answer.status_code == 403, name

    assert selectors.revision() == before


def test_a_weight_typed_in_a_row_is_answered_with_the_row_and_a_way_back(console):
    answer = console.post(
        reverse("tenant-weight", args=["greedy"]), {"weight": "7", "pool": "main"}, headers=HTMX
    )

    assert answer.status_code == 200
    assert '<tr id="q-greedy"' in text(answer)
    assert 'value="7"' in text(answer)
    assert "tenant greedy: weight 1 → 7" in text(answer)
    assert reverse("undo", args=[selectors.changes()[0].pk]) in text(answer)
    assert selectors.policy().tenants["greedy"].weight == 7


@pytest.mark.parametrize(("step", "weight"), [("up", 3), ("down", 1)])
def test_the_weight_is_stepped(console, step, weight):
    console.post(reverse("tenant-weight", args=["quiet-b"]), {"weight": "2", "step": step}, headers=HTMX)

    assert selectors.policy().tenants["quiet-b"].weight == weight


def test_a_bad_weight_is_refused_in_the_row_with_the_mend(console):
    for typed in ("0", "1001", "four", "", "-3", "²"):
        answer = console.post(reverse("tenant-weight", args=["greedy"]), {"weight": typed}, headers=HTMX)

        assert answer.status_code == 422, typed
        assert '<tr id="t-greedy"' in text(answer)
        assert "Weight is a whole number from 1 to 1000." in text(answer)
    assert selectors.policy().tenants["greedy"].weight == 1


def test_without_javascript_an_edit_comes_back_to_its_page_and_says_what_it_did(console):
    queue = "http://testserver" + reverse("queue", args=["main"])

    answer = console.post(
        reverse("tenant-weight", args=["greedy"]), {"weight": "5"}, headers={"Referer": queue}, follow=True
    )

    assert answer.redirect_chain == [(queue, 303)]
    assert "tenant greedy: weight 1 → 5" in text(answer)


def test_a_change_is_never_sent_on_to_another_site(console):
    answer = console.post(
        reverse("tenant-weight", args=["greedy"]),
        {"weight": "5"},
        headers={"Referer": "https://evil.example/"},
    )

    assert answer.headers["Location"] == reverse("tenant", args=["greedy"])


def test_a_change_is_undone_and_an_undone_one_is_not_undone_twice(console):
    console.post(reverse("tenant-weight", args=["greedy"]), {"weight": "5"})
    change = selectors.changes()[0]

    console.post(reverse("undo", args=[change.pk]))
    again = console.post(reverse("undo", args=[change.pk]), follow=True)

    assert selectors.policy().tenants["greedy"].weight == 1
    assert f"Change {change.pk} was undone already" in text(again)


def test_a_form_without_its_csrf_token_is_refused(admin, console):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin)
    address = reverse("tenant-weight", args=["greedy"])

    assert strict.post(address, {"weight": "9"}).status_code == 403
    page = text(strict.get(reverse("queue", args=["main"])))
    token = re.search(r'X-CSRFToken": "([^"]+)"', page).group(1)
    assert strict.post(address, {"weight": "9"}, headers={"X-CSRFToken": token}).status_code == 303
    assert selectors.policy().tenants["greedy"].weight == 9


def test_the_fairness_of_a_pool_is_switched(console):
    console.post(reverse("queue-fairness", args=["main"]), {"fairness": "fifo"})

    assert selectors.policy().pools["main"].fairness == "fifo"
    page = text(console.get(reverse("queue", args=["main"])))
    assert re.search(r'id="fairness_fifo" aria-pressed="true"', page)
    assert re.search(r'id="fairness_token_fair" aria-pressed="false"', page)


def test_an_unknown_fairness_is_refused(console):
    answer = console.post(reverse("queue-fairness", args=["main"]), {"fairness": "luck"}, headers=HTMX)

    assert answer.status_code == 422
    assert "token_fair" in text(answer)


def test_a_tenant_is_created_with_its_quotas(console):
    form = {"slug": "acme", "weight": "4", "priority_class": "interactive", "in_flight": "8"}

    answer = console.post(reverse("new-tenant"), form)

    assert answer.headers["Location"] == reverse("tenant", args=["acme"])
    rule = selectors.policy().tenants["acme"]
    assert (rule.weight, rule.priority_class, dict(rule.quotas)) == (4, "interactive", {"in_flight": 8})


def test_a_tenant_that_exists_is_refused_at_its_field(console):
    answer = console.post(
        reverse("new-tenant"), {"slug": "greedy", "weight": "1", "priority_class": "standard"}
    )

    assert answer.status_code == 422
    assert 'id="id_slug_error"' in text(answer)
    assert 'value="greedy"' in text(answer)


def test_a_tenants_settings_write_only_what_differs(console):
    form = {"name": "Greedy", "priority_class": "batch"}
    before = selectors.revision()

    console.post(reverse("tenant-settings", args=["greedy"]), form)
    console.post(reverse("tenant-settings", args=["greedy"]), form)

    rule = selectors.policy().tenants["greedy"]
    assert rule.priority_class == "batch"
    assert selectors.revision() == before + 2


def test_a_quota_is_set_changed_and_removed_on_the_tenants_page(console):
    address = reverse("tenant-quota", args=["greedy"])
    set_one = {"kind": "tokens_per_minute", "model": "", "limit": "600", "when_exhausted": "refuse"}

    console.post(address, set_one)
    console.post(address, {**set_one, "model": scenes.MODEL, "limit": "90", "when_exhausted": "wait"})
    rule = selectors.policy().tenants["greedy"]
    assert dict(rule.quotas) == {"tokens_per_minute": 600}
    assert dict(rule.model_quotas[scenes.MODEL]) == {"tokens_per_minute": 90}
    assert dict(rule.refusing) == {"": frozenset({"tokens_per_minute"})}
    shown = text(console.get(reverse("tenant", args=["greedy"])))
    assert 'aria-label="Limit of tokens per minute for ' in shown
    assert "tokens per minute" in shown

    console.post(address, {"model": "", "kind": "tokens_per_minute", "remove": "tokens_per_minute"})
    assert not selectors.policy().tenants["greedy"].quotas


@pytest.mark.parametrize("kind", ["queued", "in_flight"])
def test_a_quota_of_0_is_refused_at_its_field_and_the_mend_is_named(console, kind):
    answer = console.post(reverse("tenant-quota", args=["greedy"]), {"kind": kind, "limit": "0"})

    assert answer.status_code == 422
    assert 'id="id_limit_error"' in text(answer)
    assert "To let nobody in, suspend the tenant" in text(answer)


def test_a_tenants_page_says_what_was_used_of_a_budget(console):
    services.set_quota("greedy", "tokens_per_day", 1000, by="cli")
    save(used("a", "greedy", "m", timezone.now()), used("b", "tiny", "m", timezone.now()))

    assert '<td class="num" data-label="Used" title="15">15</td>' in text(
        console.get(reverse("tenant", args=["greedy"]))
    )


def test_an_api_token_is_shown_once_and_then_only_by_its_ends(console):
    answer = console.post(reverse("tokens"), {"tenant": "greedy", "name": "ci", "life": "90"})
    secret = re.search(r'id="secret">(fl_\w+)<', text(answer)).group(1)

    assert "no-store" in answer["Cache-Control"]
    listed = text(console.get(reverse("tokens")))
    assert secret not in listed
    assert str(gateway_selectors.api_tokens("greedy")[0]) in listed


def test_an_api_token_may_be_for_some_models_only(console):
    form = {"tenant": "greedy", "name": "ci", "life": "90", "models": [scenes.MODEL]}

    console.post(reverse("tokens"), form)

    assert f"only {scenes.MODEL}" in text(console.get(reverse("tokens")))


def test_a_revoked_api_token_leaves_the_list(console):
    issued = gateway_services.issue_token(tenant="greedy", name="ci", by="cli")

    console.post(reverse("revoke-token", args=[issued.token.pk]))

    assert str(issued.token) not in text(console.get(reverse("tokens")))
    assert str(issued.token) in text(console.get(reverse("tokens"), {"all": "1"}))


def test_a_backend_is_added_changed_drained_and_resumed(console):
    form = {
        "name": "gpu-9",
        "pool": "main",
        "url": "http://10.0.0.9:8000",
        "engine": "vllm",
        "max_in_flight": "16",
        "models": scenes.MODEL,
    }
    console.post(reverse("new-backend"), form)
    console.post(reverse("backend", args=["gpu-9"]), {**form, "max_in_flight": "24", "name": "other"})
    console.post(reverse("backend-state", args=["gpu-9"]), {"state": "draining"})

    rule = selectors.policy().backends["gpu-9"]
    assert (rule.max_in_flight, rule.draining) == (24, True)
    assert "draining" in text(console.get(reverse("backends")))
    console.post(reverse("backend-state", args=["gpu-9"]), {"state": "open"})
    assert not selectors.policy().backends["gpu-9"].draining


def test_a_bad_backend_address_is_refused_at_its_field(console):
    form = {"name": "x", "pool": "main", "url": "ftp://h", "engine": "vllm", "max_in_flight": "1"}

    answer = console.post(reverse("new-backend"), form)

    assert answer.status_code == 422
    assert 'id="id_url_error"' in text(answer)


def test_pools_and_models_are_made_here(console):
    console.post(reverse("new-pool"), {"name": "spare"})
    console.post(reverse("new-model"), {"name": "qwen/3", "pool": "spare"})

    assert selectors.policy().models["qwen/3"] == "spare"
    assert console.post(reverse("new-pool"), {"name": "spare"}).status_code == 422
