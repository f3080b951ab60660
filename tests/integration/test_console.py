"""Pages of the console, through Django's whole stack."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from gateway import selectors as gateway_selectors
from gateway import services as gateway_services
from scheduling import selectors, services
from tests import scenes

pytestmark = pytest.mark.django_db

PASSWORD = "a long enough password"
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
    "policies": (),
    "audit": (),
}
HTMX = {"HX-Request": "true"}


@pytest.fixture
def admin(db):
    return User.objects.create_user("ada", password=PASSWORD, is_staff=True)


@pytest.fixture
def console(admin, valkey):
    scenes.make_rules()
    scenes.publish(valkey)
    client = Client()
    client.force_login(admin)
    return client


@pytest.fixture
def visitor(console):
    client = Client()
    client.force_login(User.objects.create_user("vera", password=PASSWORD))
    return client


def text(response) -> str:
    return response.content.decode()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_stands_alone_and_htmx_gets_only_its_content(console, name):
    address = reverse(name, args=PAGES[name])

    whole, part = console.get(address), console.get(address, headers=HTMX)

    assert whole.status_code == part.status_code == 200
    assert "<html" not in text(part)
    if name != "backend-chart":
        assert "<html" in text(whole)
        assert "<h1>" in text(part)
    assert "HX-Request" in whole["Vary"]
    assert "script-src 'self'" in whole["Content-Security-Policy"]


@pytest.mark.parametrize("name", PAGES)
def test_no_page_holds_an_inline_script_or_style(console, name):
    page = text(console.get(reverse(name, args=PAGES[name])))

    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", page)


@pytest.mark.parametrize("name", PAGES)
def test_who_is_not_signed_in_is_sent_to_the_door(console, name):
    address = reverse(name, args=PAGES[name])

    assert Client().get(address).headers["Location"] == f"{reverse('sign-in')}?next={address}"
    assert Client().get(address, headers=HTMX).headers["HX-Redirect"] == reverse("sign-in")


@pytest.mark.parametrize("name", [name for name in PAGES if name != "backend-chart"])
def test_a_viewer_sees_every_page_read_only(visitor, name):
    page = text(visitor.get(reverse(name, args=PAGES[name])))

    assert "Read-only" in page


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("tenant-weight", ("greedy",)),
        ("tenant-state", ("greedy",)),
        ("tenant-settings", ("greedy",)),
        ("new-tenant", ()),
        ("tokens", ()),
        ("queue-fairness", ("main",)),
        ("backend-state", ("gpu-0",)),
        ("new-backend", ()),
        ("new-pool", ()),
        ("new-model", ()),
        ("change-policy", ("main",)),
        ("demo-start", ()),
        ("demo-stop", ()),
        ("undo", (1,)),
        ("revoke-token", (1,)),
    ],
)
def test_a_viewer_cannot_edit(visitor, name, args):
    before = selectors.revision()

    answer = visitor.post(reverse(name, args=args), {"weight": "9", "state": "suspended", "fairness": "fifo"})

    assert answer.status_code == 403
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


@pytest.mark.parametrize("typed", ["0", "1001", "four", "", "-3", "²"])
def test_a_bad_weight_is_refused_in_the_row_with_the_mend(console, typed):
    answer = console.post(reverse("tenant-weight", args=["greedy"]), {"weight": typed}, headers=HTMX)

    assert answer.status_code == 422
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
    form = {"name": "Greedy", "priority_class": "batch", "queued": "50"}
    before = selectors.revision()

    console.post(reverse("tenant-settings", args=["greedy"]), form)
    console.post(reverse("tenant-settings", args=["greedy"]), form)

    rule = selectors.policy().tenants["greedy"]
    assert (rule.priority_class, dict(rule.quotas)) == ("batch", {"queued": 50})
    assert selectors.revision() == before + 3


def test_a_suspended_tenant_is_said_to_be_suspended_until_it_is_resumed(console):
    console.post(reverse("tenant-state", args=["greedy"]), {"state": "suspended", "why": "unpaid"})
    assert "suspended" in text(console.get(reverse("queue", args=["main"])))
    assert selectors.changes()[0].why == "unpaid"

    console.post(reverse("tenant-state", args=["greedy"]), {"state": "active"})
    assert not selectors.policy().tenants["greedy"].suspended


def test_an_api_token_is_shown_once_and_then_only_by_its_ends(console):
    answer = console.post(reverse("tokens"), {"tenant": "greedy", "name": "ci", "life": "90"})
    secret = re.search(r'id="secret">(fl_\w+)<', text(answer)).group(1)

    assert "no-store" in answer["Cache-Control"]
    listed = text(console.get(reverse("tokens")))
    assert secret not in listed
    assert str(gateway_selectors.api_tokens("greedy")[0]) in listed


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


def test_a_policy_is_saved_and_a_bad_one_is_refused(console):
    form = {
        "main-fairness": "round_robin",
        "main-admission": "static_cap",
        "main-window_requests": "5",
        "main-engine_queue_target_requests": "3",
        "main-tpot_target_ms": "150",
        "main-stale": "keep",
    }
    address = reverse("change-policy", args=["main"])

    console.post(address, form)
    refused = console.post(address, {**form, "main-window_requests": "0"})

    rule = selectors.policy().pools["main"]
    assert (rule.fairness, rule.window_requests, rule.tpot_target_ms) == ("round_robin", 5, 150)
    assert refused.status_code == 422
    assert 'id="id_main-window_requests_error"' in text(refused)


def test_pools_and_models_are_made_here(console):
    console.post(reverse("new-pool"), {"name": "spare"})
    console.post(reverse("new-model"), {"name": "qwen/3", "pool": "spare"})

    assert selectors.policy().models["qwen/3"] == "spare"
    assert console.post(reverse("new-pool"), {"name": "spare"}).status_code == 422


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


# The door.


@pytest.fixture
def nobody(valkey):
    cache.clear()
    return Client()


def test_signing_in_leads_where_one_wanted_to_go(admin, nobody):
    form = {"username": "ada", "password": PASSWORD, "next": reverse("audit")}

    assert nobody.post(reverse("sign-in"), form).headers["Location"] == reverse("audit")
    assert nobody.post(reverse("sign-out")).headers["Location"] == reverse("sign-in")
    assert nobody.get(reverse("audit")).status_code == 302


def test_signing_in_never_leads_to_another_site(admin, nobody):
    form = {"username": "ada", "password": PASSWORD, "next": "https://evil.example/"}

    assert nobody.post(reverse("sign-in"), form).headers["Location"] == reverse("overview")


def test_after_five_wrong_passwords_even_the_right_one_must_wait(admin, nobody):
    wrong = {"username": "ada", "password": "wrong"}
    answers = [nobody.post(reverse("sign-in"), wrong).status_code for _ in range(5)]

    late = nobody.post(reverse("sign-in"), {"username": "ada", "password": PASSWORD})

    assert answers == [422] * 5
    assert late.status_code == 429
    assert "Wait up to 5 minutes" in text(late)


def invitation(user: User) -> str:
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    return reverse("welcome", args=[uid, default_token_generator.make_token(user)])


def test_a_set_up_link_sets_the_password_signs_in_and_dies(nobody, valkey):
    user = User.objects.create_user("new", is_staff=True)
    link = invitation(user)

    short = nobody.post(link, {"new_password1": "short", "new_password2": "short"})
    done = nobody.post(link, {"new_password1": PASSWORD, "new_password2": PASSWORD})
    again = Client().get(link)

    assert short.status_code == 422
    assert done.headers["Location"] == reverse("overview")
    assert nobody.get(reverse("overview")).status_code == 200
    assert again.status_code == 410
    assert "manage.py admin link" in text(again)


@pytest.mark.parametrize("uid", ["x", "MQ", "%FF"])
def test_a_made_up_link_is_as_dead_as_a_used_one(nobody, uid):
    assert nobody.get(f"/welcome/{uid}/abc-def/").status_code == 410


def test_the_theme_is_kept_and_rendered_by_the_server(console):
    console.post(reverse("theme"), {"theme": "dark"})
    assert 'data-theme="dark"' in text(console.get(reverse("overview")))

    console.post(reverse("theme"), {"theme": "system"})
    assert "data-theme" not in text(console.get(reverse("overview")))
