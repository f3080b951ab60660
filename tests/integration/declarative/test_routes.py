"""Aliases, fallbacks, engines and laws in the file: made, read back, changed and pruned."""

from __future__ import annotations

import pytest
import yaml
from django.core.management import CommandError

from scheduling import selectors
from scheduling.core.policy import ModelRoute
from scheduling.models import Change
from tests.integration.declarative.installation import run

pytestmark = pytest.mark.django_db

ROUTES = """
models:
  - {name: llama, pool: main, fallbacks: [tiny]}
  - {name: next, pool: main}
  - {name: tiny, pool: side}
aliases:
  - {name: chat, targets: {llama: 95, next: 5}, fallbacks: [tiny]}
backends:
  - {name: gpu-0, pool: main, engine: sglang, url: "http://10.0.0.5:8000", max_in_flight: 64,
     kv_tokens: 40000, poll_every_ms: 500, priority_order: low_first}
  - {name: gpu-1, pool: side, engine: ollama, url: "http://10.0.0.6:8000"}
policies:
  - {pool: main, admission: queue_target, counts_sent: true, kv_fill_percent: 80, prefix_slack: 2,
     engine_priority: with_window, stale: closed}
"""


def test_a_file_says_where_names_go_and_how_engines_are_fed(file) -> None:
    run("apply", "-f", file(ROUTES))

    policy = selectors.policy()
    assert policy.routes == {
        "chat": ModelRoute((("llama", 95), ("next", 5)), ("tiny",)),
        "llama": ModelRoute((("llama", 1),), ("tiny",)),
    }
    told, learns = policy.backends["gpu-0"], policy.backends["gpu-1"]
    assert (told.max_in_flight, told.learns_cap, told.kv_tokens) == (64, False, 40_000)
    assert (learns.max_in_flight, learns.learns_cap) == (32, True)
    reached = selectors.endpoints()["gpu-0"]
    assert (reached.poll_every_ms, reached.low_first) == (500, True)
    rule = policy.pools["main"]
    assert (rule.admission, rule.counts_sent, rule.kv_fill_percent) == ("queue_target", True, 80)
    assert (rule.prefix_slack_requests, rule.engine_priority, rule.stale) == (2, "with_window", "closed")


def test_a_bare_off_is_the_word_and_not_false(file) -> None:
    run("apply", "-f", file(ROUTES))
    run("apply", "-f", file("policies: [{pool: main, engine_priority: off}]"))

    assert selectors.policy().pools["main"].engine_priority == "off"


def test_what_is_exported_applies_without_a_change_and_differs_in_nothing(file) -> None:
    run("apply", "-f", file(ROUTES))
    exported, _ = run("export")
    changes = Change.objects.count()

    again, _ = run("apply", "-f", file(exported))

    assert (again, Change.objects.count()) == ("", changes)
    document = yaml.safe_load(exported)
    assert document["aliases"] == [
        {"name": "chat", "targets": {"llama": 95, "next": 5}, "fallbacks": ["tiny"]}
    ]
    (first, *_) = document["models"]
    assert first == {"name": "llama", "pool": "main", "fallbacks": ["tiny"]}
    assert "max_in_flight" not in document["backends"][1]
    assert run("diff", "-f", file(exported))[0] == ""


def test_null_gives_a_cap_and_a_poll_back_to_the_engine_and_the_knob(file) -> None:
    run("apply", "-f", file(ROUTES))
    out, _ = run(
        "apply",
        "-f",
        file(
            ROUTES.replace("max_in_flight: 64", "max_in_flight: null")
            .replace("poll_every_ms: 500", "poll_every_ms: null")
            .replace("prefix_slack: 2", "prefix_slack: null")
        ),
    )

    assert "max_in_flight 64 → None" in out
    assert selectors.policy().backends["gpu-0"].learns_cap
    assert selectors.endpoints()["gpu-0"].poll_every_ms is None
    assert selectors.policy().pools["main"].prefix_slack_requests is None


def test_a_diff_names_the_share_that_moves(file) -> None:
    run("apply", "-f", file(ROUTES))
    out, _ = run(
        "apply", "-f", file(ROUTES.replace("{llama: 95, next: 5}", "{llama: 50, next: 50}")), "--dry-run"
    )
    assert out.strip() == "~ alias chat: targets {'llama': 95, 'next': 5} → {'llama': 50, 'next': 50}"
    assert dict(selectors.policy().routes["chat"].targets) == {"llama": 95, "next": 5}


def test_pruning_takes_aliases_and_models_in_an_order_that_works(file) -> None:
    run("apply", "-f", file(ROUTES))
    left = "models: [{name: next, pool: main}]\naliases: []\nbackends: []\n"

    run("apply", "-f", file(left), "--prune")

    policy = selectors.policy()
    assert (list(policy.models), policy.routes) == (["next"], {})


BAD = {
    "target": ("llama: 95,", "lama: 95,", r"aliases\[0\]\.targets: There is no served model lama"),
    "no targets": ("targets: {llama: 95, next: 5}, ", "", r"aliases\[0\]\.targets: No target gets requests"),
    "fallback": (
        "fallbacks: [tiny]}\n  - {name: next",
        "fallbacks: [x]}\n  - {name: next",
        r"models\[0\]\.fallbacks: There is no served model x",
    ),
    "name": ("name: chat", "name: llama", r"aliases\[0\]\.name: llama is a served model"),
    "word": ("kv_fill_percent", "kv_fill", r"policies\[0\]\.kv_fill: .*mean kv_fill_percent"),
    "slack": ("prefix_slack: 2", "prefix_slack: 65", r"policies\[0\]\.prefix_slack: "),
    "order": ("engine: sglang", "engine: tgi", r"policies\[0\]\.engine_priority: .*vllm and sglang"),
    "poll": ("poll_every_ms: 500", "poll_every_ms: 5", r"backends\[0\]\.poll_every_ms: "),
}


@pytest.mark.parametrize(("old", "new", "says"), BAD.values(), ids=BAD.keys())
def test_a_bad_route_or_law_is_refused_by_place_and_changes_nothing(file, old, new, says) -> None:
    assert old in ROUTES
    with pytest.raises(CommandError, match=says):
        run("apply", "-f", file(ROUTES.replace(old, new)))
    assert not Change.objects.exists()
