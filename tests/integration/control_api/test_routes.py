"""Aliases, fallbacks, and what a script says of engines and laws."""

from __future__ import annotations

import pytest

from scheduling import selectors, services
from scheduling.models import Change
from tests.integration.control_api.script import is_problem, with_scopes

pytestmark = pytest.mark.django_db


def test_an_alias_is_made_shifted_read_and_removed(shop) -> None:
    services.create_model("org/next", "main", by="cli")
    made = shop("POST", "aliases", {"name": "org/chat", "targets": {"org/llama": 99, "org/next": 1}})
    assert (made.status_code, made.json()["targets"]) == (201, {"org/llama": 99, "org/next": 1})

    body = {"targets": {"org/next": 1}, "fallbacks": ["org/llama"], "why": "the canary sings"}
    changed = shop("PATCH", "aliases/org/chat", body).json()
    assert (changed["targets"], changed["fallbacks"]) == ({"org/next": 1}, ["org/llama"])
    assert [each["name"] for each in shop.items("aliases")] == ["org/chat"]
    assert shop("GET", "aliases/org/chat").json() == changed
    assert Change.objects.get(noun="alias", verb="set").why == "the canary sings"

    assert shop("DELETE", "aliases/org/chat").status_code == 204
    is_problem(shop("GET", "aliases/org/chat"), 404)


def test_a_model_has_fallbacks_from_the_start_or_later(shop) -> None:
    made = shop("POST", "models", {"name": "next", "pool": "main", "fallbacks": ["org/llama"]}).json()
    assert made["fallbacks"] == ["org/llama"]

    assert shop("PATCH", "models/next", {"fallbacks": []}).json()["fallbacks"] == []
    problem = is_problem(shop("PATCH", "models/next", {"fallbacks": ["next"]}), 422)
    assert problem["errors"][0]["field"] == "fallbacks"
    refused = is_problem(shop("POST", "models", {"name": "x", "pool": "main", "fallbacks": ["y"]}), 422)
    assert refused["errors"][0]["field"] == "fallbacks"
    assert "x" not in selectors.policy().models


def test_an_alias_that_cannot_be_is_refused_by_field(shop) -> None:
    assert (
        is_problem(shop("POST", "aliases", {"name": "a", "targets": {}}), 422)["errors"][0]["field"]
        == "targets"
    )
    taken = is_problem(shop("POST", "aliases", {"name": "org/llama", "targets": {"org/llama": 1}}), 422)
    assert taken["errors"][0]["field"] == "name"
    assert is_problem(shop("PATCH", "aliases/none", {"fallbacks": []}), 404)


def test_a_backend_says_how_it_is_polled_and_null_means_as_the_engine_says(shop) -> None:
    body = {"max_in_flight": 4, "kv_tokens": 9000, "poll_every_ms": 200, "priority_order": "high_first"}
    changed = shop("PATCH", "backends/gpu-0", body).json()
    assert {name: changed[name] for name in body} == body

    learned = shop("PATCH", "backends/gpu-0", {"max_in_flight": None, "poll_every_ms": None}).json()
    assert (learned["max_in_flight"], learned["poll_every_ms"], learned["kv_tokens"]) == (None, None, 9000)
    assert is_problem(shop("PATCH", "backends/gpu-0", {"poll_every_ms": 5}), 422)


def test_a_policy_says_its_law_and_what_it_sends_to_the_engines(shop) -> None:
    body = {
        "admission": "queue_target",
        "counts_sent": True,
        "kv_fill_percent": 80,
        "prefix_slack_requests": 2,
        "engine_priority": "with_window",
    }
    changed = shop("PATCH", "policies/main", body).json()
    assert {name: changed[name] for name in body} == body
    assert (
        shop("PATCH", "policies/main", {"prefix_slack_requests": None}).json()["prefix_slack_requests"]
        is None
    )

    shop("PATCH", "policies/main", {"engine_priority": "off"})
    shop("PATCH", "backends/gpu-0", {"engine": "ollama"})
    problem = is_problem(shop("PATCH", "policies/main", {"engine_priority": "alone"}), 422)
    assert problem["errors"][0]["field"] == "engine_priority"


def test_aliases_need_the_scope_of_models(shop) -> None:
    reader = with_scopes("models:read")
    assert reader("GET", "aliases").status_code == 200
    is_problem(reader("POST", "aliases", {"name": "a", "targets": {"org/llama": 1}}), 403)


def test_a_backend_is_looked_at_step_by_step(shop) -> None:
    services.change_backend("gpu-0", by="cli", url="http://127.0.0.1:9")
    report = shop("POST", "backends/gpu-0/test", {}).json()
    assert (report["ok"], report["engine"]) == (False, "")
    failed = report["steps"][-1]
    assert (failed["name"], failed["ok"]) == ("connection", False)
    assert failed["mend"]
    is_problem(shop("POST", "backends/none/test", {}), 404)
