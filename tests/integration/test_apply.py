"""The installation as one file, and the commands around it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from gateway import selectors as gateway_selectors
from gateway import services as gateway_services
from gateway import tokens
from gateway.models import ApiToken
from scheduling import selectors, services
from scheduling.models import Change, Tenant

pytestmark = pytest.mark.django_db
SECRET = tokens.generate("fl_")
ENGINE_KEY = "engine-key-of-gpu-0"

FILE = """
tenants:
  - {slug: research, name: Research, weight: 3, class: standard,
     quotas: {requests_per_minute: 600, in_flight: 64}}
  - {slug: chat, name: Chat product, weight: 1, class: interactive}
models:
  - {name: llama-3.1-8b, pool: main}
backends:
  - {name: gpu-0, pool: main, engine: vllm, url: "http://10.0.0.5:8000",
     max_in_flight: 64, api_key_env: GPU_KEY}
classes:
  - {name: batch, max_wait_s: 300}
policies:
  - {pool: main, fairness: token_fair, engine_queue_target: 3, tpot_target_ms: 150}
tokens:
  - {tenant: chat, name: ci, secret_env: CHAT_TOKEN}
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("CHAT_TOKEN", SECRET)
    monkeypatch.setenv("GPU_KEY", ENGINE_KEY)


def run(*command: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command(*command, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def file(tmp_path: Path):
    def write(text: str = FILE) -> str:
        path = tmp_path / "fairlane.yaml"
        path.write_text(text)
        return str(path)

    return write


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


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        pytest.param(
            "weight: 3", "wieght: 3", r"tenants\[0\]\.wieght: unknown. Did you mean weight\?", id="typo"
        ),
        pytest.param(
            "weight: 3", "colour: 3", r"tenants\[0\]\.colour: unknown. Use one of: slug", id="unknown key"
        ),
        pytest.param("tenants:", "tenant:", r"tenant: unknown. Did you mean tenants\?", id="unknown section"),
        pytest.param(
            "weight: 3", "weight: heavy", r"tenants\[0\]\.weight: .*integer, not 'heavy'", id="text"
        ),
        pytest.param("weight: 3", "weight: true", r"tenants\[0\]\.weight: .*integer, not True", id="boolean"),
        pytest.param(
            "weight: 3", "weight: 0", r"tenants\[0\]\.weight: .*greater than or equal to 1", id="range"
        ),
        pytest.param("weight: 3", "weight: 2000", r"tenants\[0\]\.weight: .*less than", id="too heavy"),
        pytest.param("class: interactive", "class: vip", r"tenants\[1\]\.class: .*interactive", id="class"),
        pytest.param(
            "in_flight: 64}", "gold: 64}", r"tenants\[0\]\.quotas: 'gold'.*in_flight", id="quota kind"
        ),
        pytest.param(
            "engine_queue_target: 3",
            "engine_queue_target: -1",
            r"policies\[0\]\.engine_queue_target",
            id="alias",
        ),
        pytest.param(
            "fairness: token_fair", "fairness: lifo", r"policies\[0\]\.fairness: .*fifo", id="fairness"
        ),
        pytest.param("http://10.0.0.5:8000", "ftp://h", r"backends\[0\]\.url: .*http://", id="url"),
        pytest.param(', url: "http://10.0.0.5:8000"', "", r"backends\[0\]\.url: missing", id="missing"),
        pytest.param(
            "CHAT_TOKEN", "NO_SUCH", r"tokens\[0\]\.secret_env: .*NO_SUCH is not set", id="variable"
        ),
        pytest.param(
            "CHAT_TOKEN", "GPU_KEY", r"tokens\[0\]\.secret_env: GPU_KEY holds no API token", id="secret"
        ),
        pytest.param(", secret_env: CHAT_TOKEN", "", r"tokens\[0\]\.secret_env: missing", id="no secret"),
        pytest.param(
            "slug: chat", "slug: research", r"tenants\[1\]: research is in tenants\[0\]", id="twice"
        ),
        pytest.param("weight: 3", "weight: 3, weight: 4", "'weight' is written twice", id="key twice"),
        pytest.param("tenants:", "tenants: [", "not YAML", id="syntax"),
        pytest.param(
            "api_key_env: GPU_KEY",
            "ca_file: none.pem",
            r"backends\[0\]\.ca_file: none.pem cannot be read",
            id="ca",
        ),
    ],
)
def test_a_bad_file_is_refused_by_place_and_changes_nothing(file, old, new, says) -> None:
    assert old in FILE
    with pytest.raises(CommandError, match=says) as refused:
        run("apply", "-f", file(FILE.replace(old, new)))
    assert ENGINE_KEY not in str(refused.value)
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


def test_a_tenant_is_suspended_and_resumed_by_the_file(file) -> None:
    for suspended in (True, False):
        run("apply", "-f", file(f"tenants: [{{slug: chat, suspended: {str(suspended).lower()}}}]"))
        assert selectors.policy().tenants["chat"].suspended is suspended


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


def test_a_token_is_issued_with_its_secret_alone_on_stdout() -> None:
    services.create_tenant("chat", by="cli")
    secret, err = run(
        "token", "issue", "chat", "--name", "ci", "--class", "batch", "--expires", "90d", "--quiet"
    )
    assert (secret.count("\n"), err) == (1, "")
    caller = gateway_selectors.callers().by_digest[tokens.digest(secret.strip())]
    assert (caller.token_name, caller.class_ceiling) == ("ci", "batch")
    assert caller.expires_at_s is not None

    token = ApiToken.objects.get()
    assert secret.strip() not in "".join(run("token", "list"))
    assert json.loads(run("token", "list", "chat", "--json")[0])[0]["id"] == token.pk
    run("token", "revoke", str(token.pk))
    assert not gateway_selectors.callers().by_digest


def test_an_admins_token_is_issued_with_scopes() -> None:
    get_user_model().objects.create_user("ada")
    secret, _ = run("token", "issue", "--admin", "ada", "--scope", "tenants:write", "--scope", "usage:read")
    found = gateway_selectors.admin_caller(secret.strip())
    assert found is not None
    assert found.scopes == {"tenants:write", "usage:read"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("issue",), "slug, or --admin"),
        (("issue", "chat", "--admin", "ada"), "not both"),
        (("issue", "nobody"), "no tenant 'nobody'"),
        (("issue", "chat", "--scope", "x"), "--scope goes with --admin"),
        (("issue", "--admin", "ada", "--class", "batch"), "--class is for a tenant"),
        (("issue", "--admin", "ada", "--scope", "x"), "Unknown: x"),
        (("issue", "chat", "--expires", "soon"), "write 12h, 90d"),
        (("issue", "chat", "--expires", "2020-01-01T00:00:00Z"), "past"),
        (("issue", "chat", "--class", "vip"), "interactive"),
        (("revoke", "0"), "no API token 0"),
    ],
)
def test_a_token_command_that_cannot_work_says_why(arguments, says) -> None:
    services.create_tenant("chat", by="cli")
    get_user_model().objects.create_user("ada")
    with pytest.raises(CommandError, match=says):
        run("token", *arguments)
    assert not ApiToken.objects.exists()


def test_a_new_secret_fits_secret_env(file, monkeypatch) -> None:
    secret = run("token", "new")[0].strip()
    monkeypatch.setenv("CHAT_TOKEN", secret)
    run("apply", "-f", file())
    assert tokens.digest(secret) in gateway_selectors.callers().by_digest
    assert gateway_services.target(ApiToken.objects.get()) == "chat/ci"
