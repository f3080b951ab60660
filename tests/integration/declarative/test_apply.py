"""The installation as one file: what apply makes, keeps and removes, and what diff and export say of it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import timedelta
from math import inf

import pytest
import yaml
from django.core.management import CommandError, call_command
from django.utils import timezone

from gateway import selectors as gateway_selectors
from gateway import tokens
from scheduling import selectors, services
from scheduling.core.policy import Prices
from scheduling.core.usage import CostRule
from scheduling.models import Change, Tenant
from tests.integration.declarative.installation import ENGINE_KEY, FILE, SECRET, run

LLAMA = "llama-3.1-8b"

pytestmark = pytest.mark.django_db


def test_a_file_makes_a_whole_installation(file) -> None:
    run("apply", "-f", file())

    policy = selectors.policy()
    assert (policy.tenants["research"].weight, dict(policy.tenants["research"].quotas)) == (
        3,
        {"requests_per_minute": 600, "in_flight": 64},
    )
    assert policy.tenants["chat"].priority_class == "interactive"
    assert policy.classes["batch"].max_wait_ms == 300_000
    assert policy.pools["main"].tpot_target_ms == 150
    assert policy.backends["gpu-0"].models == {"llama-3.1-8b"}
    assert selectors.endpoints()["gpu-0"].api_key == ENGINE_KEY
    assert gateway_selectors.callers().by_digest[tokens.digest(SECRET)].tenant == "chat"


def test_applying_twice_changes_nothing(file) -> None:
    run("apply", "-f", file())
    revision, changes = selectors.revision(), Change.objects.count()

    out, err = run("apply", "-f", file())

    assert (selectors.revision(), Change.objects.count(), out) == (revision, changes, "")
    assert "Nothing to change" in err


def test_a_dry_run_prints_the_diff_and_writes_nothing(file) -> None:
    before = selectors.policy()

    out, _ = run("apply", "-f", file(), "--dry-run")

    assert "+ tenant research: " in out
    assert "weight 3" in out
    assert "~ class batch: max_wait_s 120 → 300" in out
    assert selectors.policy() == before
    assert not Change.objects.exists()


def test_a_bad_last_row_leaves_nothing(file) -> None:
    text = FILE.replace("tenant: chat, name: ci", "tenant: nobody, name: ci")
    with pytest.raises(CommandError, match=r"tokens\[0\]: There is no tenant 'nobody'"):
        run("apply", "-f", file(text))
    assert not Tenant.objects.exists()
    assert not Change.objects.exists()


def test_a_field_that_is_not_written_is_left_as_it_is(file) -> None:
    run("apply", "-f", file())
    services.set_weight("chat", 9, by="admin:ada")
    run("apply", "-f", file("tenants: [{slug: chat, name: Renamed}]"))
    tenant = Tenant.objects.get(slug="chat")
    assert (tenant.name, tenant.weight) == ("Renamed", 9)


def test_written_quotas_replace_all_of_a_tenants_quotas(file) -> None:
    run("apply", "-f", file())
    run("apply", "-f", file("tenants: [{slug: research, quotas: {queued: 5}}]"))
    assert dict(selectors.policy().tenants["research"].quotas) == {"queued": 5}


QUOTAS = """
tenants:
  - slug: research
    quotas: {tokens_per_minute: {limit: 60000, when_exhausted: refuse}, tokens_per_day: {limit: 9000000}}
    model_quotas: {llama-3.1-8b: {requests_per_minute: {limit: 60, when_exhausted: wait}}}
models: [{name: llama-3.1-8b, pool: main, prices: {prompt: 200000, completion: 600000}}]
"""


def test_quotas_of_models_and_prices_go_in_by_file_and_come_out_the_same(file) -> None:
    run("apply", "-f", file())
    run("apply", "-f", file(QUOTAS))

    policy = selectors.policy()
    rule = policy.tenants["research"]
    assert dict(rule.quotas) == {"tokens_per_minute": 60_000, "tokens_per_day": 9_000_000}
    assert dict(rule.model_quotas["llama-3.1-8b"]) == {"requests_per_minute": 60}
    assert dict(rule.refusing) == {"": frozenset({"tokens_per_minute"})}
    assert policy.prices["llama-3.1-8b"] == Prices(200_000, 0, 600_000)
    assert "Nothing to change" in run("apply", "-f", file(QUOTAS))[1]
    exported = yaml.safe_load(run("export")[0])
    assert exported["tenants"][1]["quotas"]["tokens_per_minute"] == {
        "limit": 60_000,
        "when_exhausted": "refuse",
    }
    exported.pop("tokens")
    assert "Nothing to change" in run("apply", "-f", file(yaml.safe_dump(exported)))[1]

    run("apply", "-f", file("tenants: [{slug: research, quotas: {}, model_quotas: {}}]"))
    assert selectors.policy().tenants["research"].model_quotas == {}


def test_an_api_tokens_own_quotas_are_made_by_the_file_and_then_fixed(file) -> None:
    own = FILE.replace("secret_env: CHAT_TOKEN", "secret_env: CHAT_TOKEN, quotas: {tokens_per_day: 500}")
    run("apply", "-f", file(own))

    caller = gateway_selectors.callers().by_digest[tokens.digest(SECRET)]
    assert caller.quotas == {"tokens_per_day": 500}
    assert "Nothing to change" in run("apply", "-f", file(own))[1]
    with pytest.raises(
        CommandError,
        match=r"tokens\[0\]\.quotas: An API token's class, quotas, models, hold time and end are fixed",
    ):
        run("apply", "-f", file(own.replace("500", "600")))


def test_an_api_token_for_some_models_is_made_by_the_file_and_exported(file) -> None:
    own = FILE.replace("secret_env: CHAT_TOKEN", f"secret_env: CHAT_TOKEN, models: [{LLAMA}]")
    run("apply", "-f", file(own))

    assert gateway_selectors.callers().by_digest[tokens.digest(SECRET)].models == {LLAMA}
    assert "Nothing to change" in run("apply", "-f", file(own))[1]
    assert yaml.safe_load(run("export")[0])["tokens"][0]["models"] == [LLAMA]
    with pytest.raises(CommandError, match=r"tokens\[0\]\.models: An API token's class"):
        run("apply", "-f", file(own.replace(f"[{LLAMA}]", "[]")))


@pytest.mark.parametrize(
    ("written", "hold_s", "exported"),
    [("0", 0, 0), ("2.5", 2.5, 2.5), ("inf", inf, "inf"), (".inf", inf, "inf"), ("null", None, None)],
)
def test_how_long_an_api_token_holds_its_status_line_goes_in_by_file_and_comes_out_the_same(
    file, written, hold_s, exported
) -> None:
    own = FILE.replace("secret_env: CHAT_TOKEN", f"secret_env: CHAT_TOKEN, hold_status_s: {written}")
    run("apply", "-f", file(own))

    assert gateway_selectors.callers().by_digest[tokens.digest(SECRET)].hold_s == hold_s
    assert "Nothing to change" in run("apply", "-f", file(own))[1]
    out, _ = run("export")
    assert yaml.safe_load(out)["tokens"][0].get("hold_status_s") == exported
    assert "Nothing to change" in run("apply", "-f", file(out))[1]
    with pytest.raises(CommandError, match=r"tokens\[0\]\.hold_status_s: An API token's class"):
        run("apply", "-f", file(own.replace(f"hold_status_s: {written}", "hold_status_s: 9")))


def test_a_tenant_is_suspended_and_resumed_by_the_file(file) -> None:
    for suspended in (True, False):
        run("apply", "-f", file(f"tenants: [{{slug: chat, suspended: {str(suspended).lower()}}}]"))
        assert selectors.policy().tenants["chat"].suspended is suspended


def test_pauses_boosts_lending_and_costs_go_in_by_file_and_come_out_the_same(file) -> None:
    until = timezone.now().replace(microsecond=0) + timedelta(hours=1)
    steered = f"""
tenants:
  - {{slug: chat, paused: true}}
  - {{slug: research, boost: {{factor: 3, until: "{until.isoformat()}"}}}}
classes: [{{name: interactive, reserved_seats: 4, lent_seats: 2}}]
policies: [{{pool: main, paused: true, prompt_weight: 2, completion_weight: 5, cached_discount_percent: 50}}]
"""
    run("apply", "-f", file())
    run("apply", "-f", file(steered))

    policy = selectors.policy()
    assert policy.tenants["chat"].paused
    assert (policy.tenants["research"].boost, policy.tenants["research"].boost_until_s) == (
        3,
        until.timestamp(),
    )
    assert policy.classes["interactive"].lent_seats == 2
    assert (policy.pools["main"].paused, policy.pools["main"].cost) == (True, CostRule(2, 5, 50))
    exported = yaml.safe_load(run("export")[0])
    exported.pop("tokens")
    for again in (steered, yaml.safe_dump(exported)):
        assert "Nothing to change" in run("apply", "-f", file(again))[1]

    run("apply", "-f", file("tenants: [{slug: research, boost: null}, {slug: chat, suspended: true}]"))
    tenants = selectors.policy().tenants
    assert (tenants["research"].boost, tenants["chat"].paused, tenants["chat"].suspended) == (1, False, True)


def test_a_tenant_that_was_suspended_is_paused_by_the_file_instead(file) -> None:
    run("apply", "-f", file("tenants: [{slug: chat, suspended: true}]"))
    run("apply", "-f", file("tenants: [{slug: chat, suspended: false, paused: true}]"))
    assert Tenant.objects.get(slug="chat").state == "paused"


def test_a_boost_that_has_ended_is_applied_without_effect_and_not_exported(file) -> None:
    ended = file("tenants: [{slug: chat, boost: {factor: 3, until: 2026-01-01T00:00:00+02:00}}]")
    run("apply", "-f", ended)

    assert "Nothing to change" in run("apply", "-f", ended)[1]
    assert selectors.policy().tenants["chat"].boost_at(timezone.now().timestamp()) == 1
    assert "boost" not in run("export")[0]


def test_only_prune_removes_and_only_in_sections_of_the_file(file) -> None:
    run("apply", "-f", file())
    less = file("tenants: [{slug: chat}]\nbackends: []\n")

    assert run("apply", "-f", less)[0] == ""
    out, _ = run("apply", "-f", less, "--prune")

    assert out.splitlines() == ["- backend gpu-0", "- tenant research"]
    assert "llama-3.1-8b" in selectors.policy().models  # no models section: left alone
    run("apply", "-f", file("models: []\nbackends: []\ntokens: []\n"), "--prune")
    policy = selectors.policy()
    assert not policy.models
    assert not policy.pools
    assert not gateway_selectors.callers().by_digest


def test_another_secret_replaces_the_api_token(file, monkeypatch) -> None:
    run("apply", "-f", file())
    other = tokens.generate("fl_")
    monkeypatch.setenv("CHAT_TOKEN", other)

    out, _ = run("apply", "-f", file())

    assert out == "~ API token chat/ci: secret (set) → (changed)\n"
    assert list(gateway_selectors.callers().by_digest) == [tokens.digest(other)]


def test_another_secret_takes_nothing_from_what_the_api_token_may(file, monkeypatch) -> None:
    limits = f"class: batch, models: [{LLAMA}], quotas: {{queued: 5}}, hold_status_s: 0"
    run("apply", "-f", file(FILE.replace("secret_env: CHAT_TOKEN", f"secret_env: CHAT_TOKEN, {limits}")))
    (before,) = gateway_selectors.callers().by_digest.values()
    monkeypatch.setenv("CHAT_TOKEN", tokens.generate("fl_"))

    run("apply", "-f", file())

    (after,) = gateway_selectors.callers().by_digest.values()
    assert replace(after, token_id=before.token_id) == before
    assert (after.class_ceiling, after.models, after.hold_s) == ("batch", {LLAMA}, 0)


def test_what_is_exported_applies_to_the_same(file) -> None:
    run("apply", "-f", file())
    services.suspend_tenant("research", by="admin:ada")
    out, err = run("export")

    assert SECRET not in out + err
    assert ENGINE_KEY not in out + err
    assert "secret of chat/ci" in err
    assert "API key of gpu-0" in err
    again, _ = run("apply", "-f", file(out))
    assert again == ""
    assert [row["rank"] for row in yaml.safe_load(out)["classes"]] == [0, 1, 2]
    assert json.loads(run("export", "--json")[0]) == yaml.safe_load(out)


def test_no_secret_is_in_the_audit_or_printed(file) -> None:
    out, err = run("apply", "-f", file())
    out_json, _ = run("apply", "-f", file(FILE.replace("max_in_flight: 64", "max_in_flight: 65")), "--json")
    kept = str(list(Change.objects.values()))
    for secret in (SECRET, ENGINE_KEY, tokens.digest(SECRET).hex()):
        assert secret not in out + err + out_json + kept
    assert json.loads(out_json)["steps"][0]["fields"] == {"max_in_flight": {"before": 64, "after": 65}}
    assert Change.objects.latest("id").why.startswith("fairlane.yaml sha256:")


def test_diff_says_by_its_exit_status_whether_there_is_drift(file) -> None:
    run("apply", "-f", file())
    assert run("diff", "-f", file()) == ("", "")

    services.set_weight("research", 5, by="admin:ada")
    revision, out = selectors.revision(), io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("diff", "-f", file(), stdout=out)

    assert ended.value.code == 2
    assert out.getvalue() == "~ tenant research: weight 5 → 3\n"
    assert selectors.revision() == revision
