"""Engines, laws and routes in the console: what an admin sets, and what it shows of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.urls import reverse

from dashboard import laws
from dashboard.words import TIMES
from scheduling import selectors, services
from scheduling.core import policy
from scheduling.core.usage import CostRule
from scheduling.engines import connect
from scheduling.engines.connect import ConnectReport, ConnectStep
from tests import scenes
from tests.scenes import text

pytestmark = pytest.mark.django_db

FOUND = ConnectReport(
    (
        ConnectStep("dns", ok=True, detail="127.0.0.1"),
        ConnectStep("metrics", ok=False, detail="404 at /metrics", mend="Start it with --metrics"),
    ),
    engine="llamacpp",
    models=("tiny",),
    signals=("running", "waiting"),
)


@pytest.fixture
def looked_at(monkeypatch):
    """The endpoints that the connect test was given; each answers as a llama.cpp without metrics."""
    seen = []

    def look(endpoint):
        seen.append(endpoint)
        return FOUND

    monkeypatch.setattr(connect, "test", look)
    return seen


def test_every_law_stale_rule_and_mode_is_described_and_can_be_chosen(console):
    assert list(laws.LAWS) == list(policy.ADMISSION)
    assert list(laws.STALE) == list(policy.STALE)
    assert list(laws.ENGINE_PRIORITY) == list(policy.ENGINE_PRIORITY)
    page = text(console.get(reverse("policies")))
    for name, choice in (*laws.LAWS.items(), *laws.STALE.items(), *laws.ENGINE_PRIORITY.items()):
        assert f'value="{name}"' in page
        assert choice.sentence.split("'")[0] in page


def test_a_policy_is_saved_and_a_bad_one_is_refused(console):
    form = {
        "main-fairness": "round_robin",
        "main-admission": "static_cap",
        "main-window_requests": "5",
        "main-engine_queue_target_requests": "3",
        "main-tpot_target_ms": "150",
        "main-stale": "keep",
        "main-counts_sent": "on",
        "main-kv_fill_percent": "80",
        "main-prefix_slack_requests": "2",
        "main-engine_priority": "off",
        "main-prompt_weight": "1",
        "main-completion_weight": "3",
        "main-cached_discount_percent": "90",
    }
    address = reverse("change-policy", args=["main"])

    console.post(address, form)
    refused = console.post(address, {**form, "main-window_requests": "0"})

    rule = selectors.policy().pools["main"]
    assert (rule.fairness, rule.window_requests, rule.tpot_target_ms) == ("round_robin", 5, 150)
    assert (rule.counts_sent, rule.kv_fill_percent, rule.prefix_slack_requests) == (True, 80, 2)
    assert rule.cost == CostRule(1, 3, 90)
    assert f"3 {TIMES} completion, cached prompt tokens 90" in text(
        console.get(reverse("queue", args=["main"]))
    )
    assert refused.status_code == 422
    assert 'id="id_main-window_requests_error"' in text(refused)


def test_a_policy_that_the_engines_cannot_follow_is_refused_at_its_field(console):
    services.change_backend("gpu-0", by="cli", engine="ollama")
    form = {
        f"main-{name}": value
        for name, value in (
            ("fairness", "token_fair"), ("admission", "gradient"), ("window_requests", "3"),
            ("engine_queue_target_requests", "3"), ("stale", "closed"), ("prompt_weight", "1"),
            ("completion_weight", "2"), ("cached_discount_percent", "0"), ("kv_fill_percent", "100"),
            ("engine_priority", "alone"),
        )
    }  # fmt: skip

    refused = console.post(reverse("change-policy", args=["main"]), form)
    assert refused.status_code == 422
    assert 'id="id_main-engine_priority_error"' in text(refused)
    assert "The engine of gpu-0 has no priorities" in text(refused)
    assert selectors.policy().pools["main"].admission == "first_token_window"

    form["main-engine_priority"] = "with_window"
    console.post(reverse("change-policy", args=["main"]), form)
    rule = selectors.policy().pools["main"]
    assert (rule.admission, rule.stale, rule.engine_priority) == ("gradient", "closed", "with_window")


def test_a_backend_without_a_cap_learns_it_and_says_so(console, valkey):
    form = {"name": "gpu-9", "pool": "main", "url": "http://10.0.0.9:8000", "engine": "sglang"}
    extra = {"kv_tokens": "9000", "poll_every_ms": "250", "priority_order": "low_first"}
    console.post(reverse("new-backend"), {**form, **extra})
    rule = selectors.policy().backends["gpu-9"]
    assert (rule.learns_cap, rule.kv_tokens) == (True, 9000)
    assert (selectors.endpoints()["gpu-9"].poll_every_ms, selectors.endpoints()["gpu-9"].low_first) == (
        250,
        True,
    )

    page = text(console.get(reverse("backend", args=["gpu-9"])))
    assert "32 until the engine says how many it takes" in page
    assert 'name="poll_every_ms" value="250"' in page
    too_often = console.post(reverse("new-backend"), {**form, "poll_every_ms": "5"})
    assert 'id="id_poll_every_ms_error"' in text(too_often)
    no_seats = console.post(reverse("new-backend"), {**form, "max_in_flight": "0"})
    assert "To send it nothing, drain the backend" in text(no_seats)


def test_the_connect_test_shows_each_step_with_its_mend_and_fills_the_engine_in(console, looked_at):
    answer = text(console.post(reverse("connect-test"), {"url": "http://127.0.0.1:9/", "engine": "vllm"}))

    assert [(each.url, each.engine) for each in looked_at] == [("http://127.0.0.1:9", "detect")]
    for part in ("dns", "404 at /metrics", "Start it with --metrics", "llamacpp answers", "is filled in"):
        assert part in answer
    assert 'hx-swap-oob="true"' in answer
    assert '<option value="llamacpp" selected>' in answer
    again = text(console.post(reverse("connect-test"), {"url": "http://127.0.0.1:9", "engine": "llamacpp"}))
    assert "hx-swap-oob" not in again


def test_the_connect_test_uses_the_stored_api_key_until_another_is_typed(console, looked_at):
    services.change_backend("gpu-0", by="cli", api_key="sk-stored")
    form = {"name": "gpu-0", "url": "http://127.0.0.1:9001"}
    answers = [
        console.post(reverse("connect-test"), form),
        console.post(reverse("connect-test"), {**form, "api_key": "sk-typed"}),
    ]
    assert [each.api_key for each in looked_at] == ["sk-stored", "sk-typed"]
    assert all("sk-" not in text(answer) for answer in answers)


@pytest.mark.parametrize("url", ["", "ftp://h", "http://169.254.169.254"])
def test_the_connect_test_goes_to_no_address_that_a_backend_may_not_have(console, looked_at, url):
    assert "note-box bad" in text(console.post(reverse("connect-test"), {"url": url}))
    assert looked_at == []


def test_an_engine_that_cannot_be_told_from_others_overwrites_no_choice(console, monkeypatch):
    monkeypatch.setattr(connect, "test", lambda endpoint: replace(FOUND, engine="openai"))
    answer = text(console.post(reverse("connect-test"), {"url": "http://h:1", "engine": "tgi"}))
    assert "hx-swap-oob" not in answer


def test_an_alias_is_made_shifted_and_deleted_here(console):
    services.create_model("next", "batch", by="cli")
    form = {"name": "org/chat", "targets": f"{scenes.MODEL}=95, next 5", "fallbacks": "next"}
    console.post(reverse("new-alias"), form)
    route = selectors.policy().routes["org/chat"]
    assert (dict(route.targets), route.fallbacks) == ({scenes.MODEL: 95, "next": 5}, ("next",))
    assert f'value="{scenes.MODEL}=95, next=5"' in text(console.get(reverse("backends")))

    said = console.post(reverse("change-alias"), {**form, "targets": "next=1"}, follow=True)
    assert dict(selectors.policy().routes["org/chat"].targets) == {"next": 1}
    assert "alias org/chat: targets" in text(said)
    console.post(reverse("delete-alias"), {"name": "org/chat"})
    assert selectors.policy().routes == {}


@pytest.mark.parametrize(
    ("targets", "says"),
    [("llama", "has no weight"), ("x=1", "no served model x"), ("x=1, x=2", "named twice"), ("", "required")],
)
def test_a_bad_target_is_refused_where_it_was_typed_and_kept_there(console, targets, says):
    services.create_alias("chat", {scenes.MODEL: 1}, by="cli")
    refused = console.post(reverse("change-alias"), {"name": "chat", "targets": targets, "fallbacks": ""})
    assert refused.status_code == 422
    assert says in text(refused)
    assert 'id="refused_targets_error"' in text(refused)
    new = console.post(reverse("new-alias"), {"name": "b", "targets": targets})
    assert 'id="alias_targets_error"' in text(new)


def test_a_models_fallbacks_are_set_here_and_refused_by_name(console):
    services.create_model("next", "main", by="cli")
    console.post(reverse("change-fallbacks"), {"name": "next", "fallbacks": scenes.MODEL})
    assert selectors.policy().routes["next"].fallbacks == (scenes.MODEL,)

    refused = console.post(reverse("change-fallbacks"), {"name": "next", "fallbacks": "next"})
    assert "cannot stand in for itself" in text(refused)
