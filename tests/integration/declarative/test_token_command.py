"""API tokens on the command line."""

from __future__ import annotations

import json
from math import inf

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError

from gateway import selectors as gateway_selectors
from gateway import services as gateway_services
from gateway import tokens
from gateway.models import ApiToken
from scheduling import services
from tests.integration.declarative.installation import run

pytestmark = pytest.mark.django_db


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


def test_a_token_is_issued_with_limits_of_its_own() -> None:
    services.create_tenant("chat", by="cli")
    limits = ("--quota", "tokens_per_minute=600", "--quota", "in_flight=2")
    secret, _ = run("token", "issue", "chat", *limits, "--quiet")

    caller = gateway_selectors.callers().by_digest[tokens.digest(secret.strip())]
    assert (caller.quotas, caller.refusing) == ({"tokens_per_minute": 600, "in_flight": 2}, frozenset())
    with pytest.raises(CommandError, match="no quota; write KIND=LIMIT"):
        run("token", "issue", "chat", "--quota", "gold=4")


def test_a_token_is_issued_for_some_models_only() -> None:
    services.create_tenant("chat", by="cli")
    services.create_pool("main", by="cli")
    for name in ("small", "large"):
        services.create_model(name, "main", by="cli")
    secret, _ = run("token", "issue", "chat", "--model", "small", "--quiet")

    assert gateway_selectors.callers().by_digest[tokens.digest(secret.strip())].models == {"small"}
    assert json.loads(run("token", "list", "--json")[0])[0]["models"] == ["small"]
    with pytest.raises(CommandError, match="models: There is no model or alias huge"):
        run("token", "issue", "chat", "--model", "huge")
    with pytest.raises(CommandError, match="--model is for a tenant's API token"):
        run("token", "issue", "--admin", "ada", "--scope", "usage:read", "--model", "small")


@pytest.mark.parametrize(("said", "hold_s", "listed"), [("0", 0, 0), ("2.5", 2.5, 2.5), ("inf", inf, "inf")])
def test_a_token_is_issued_with_a_time_of_its_own_until_the_status_line(said, hold_s, listed) -> None:
    services.create_tenant("chat", by="cli")
    secret, _ = run("token", "issue", "chat", "--hold", said, "--quiet")

    assert gateway_selectors.callers().by_digest[tokens.digest(secret.strip())].hold_s == hold_s
    assert json.loads(run("token", "list", "--json")[0])[0]["hold_status_s"] == listed
    with pytest.raises(CommandError, match="hold_status_s: Write seconds from 0"):
        run("token", "issue", "chat", "--name", "other", "--hold", "never")
    with pytest.raises(CommandError, match="--hold is for a tenant's API token"):
        run("token", "issue", "--admin", "ada", "--scope", "usage:read", "--hold", said)


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
