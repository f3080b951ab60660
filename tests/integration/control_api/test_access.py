"""Who may do what over the control API, and how often."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from gateway import services as gateway_services
from gateway import tokens
from gateway.api import access
from tests.integration.control_api.script import Api, is_problem, with_scopes

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "secret", ["", "nonsense", tokens.generate("fla_")], ids=["none", "no token", "of nobody"]
)
def test_without_a_good_api_token_nothing_is_told(api, secret) -> None:
    answer = Api(secret)("GET", "tenants")
    assert "fla_" in is_problem(answer, 401)["detail"]
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_an_api_token_for_inference_is_told_that_it_is_the_wrong_kind(shop) -> None:
    secret = gateway_services.issue_token(tenant="chat", name="ci", by="cli").secret
    assert "is for inference" in is_problem(Api(secret)("GET", "tenants"), 403)["detail"]


def test_a_session_of_the_console_opens_nothing_here(api) -> None:
    client = Client()
    client.force_login(get_user_model().objects.get())
    is_problem(client.get("/api/v1/tenants"), 401)


def test_a_scope_opens_its_resource_and_verb_alone(shop) -> None:
    reader, writer = with_scopes("tenants:read"), with_scopes("tenants:write")
    assert reader("GET", "tenants").status_code == 200
    assert writer("GET", "tenants").status_code == 200
    assert "tenants:write" in is_problem(reader("PATCH", "tenants/chat", {"weight": 2}), 403)["detail"]
    is_problem(writer("GET", "backends"), 403)
    assert writer("PATCH", "tenants/chat", {"weight": 2}).status_code == 200


def test_every_operation_needs_a_scope(api) -> None:
    """Nobody can add a resource and forget its scope."""
    bare = with_scopes("metrics")
    paths = Client().get("/api/v1/openapi.json").json()["paths"]
    for path, operations in paths.items():
        for method in operations:
            address = path.removeprefix("/api/v1/").replace("{token_id}", "1").replace("{change_id}", "1")
            is_problem(bare(method.upper(), address, {}), 403)


def test_a_script_that_asks_too_often_is_told_when_to_return(api, monkeypatch) -> None:
    monkeypatch.setattr(access, "BURST", 2)
    monkeypatch.setattr(access, "PER_S", 0.1)
    statuses = [api("GET", "classes") for _ in range(3)]
    assert [answer.status_code for answer in statuses] == [200, 200, 429]
    is_problem(statuses[-1], 429)
    assert 1 <= int(statuses[-1]["Retry-After"]) <= 10
