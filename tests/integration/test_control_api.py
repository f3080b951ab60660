"""The control API: what a script may do with an admin's API token."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.staticfiles import finders
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from redis.exceptions import RedisError

from gateway import selectors as gateway_selectors
from gateway import services as gateway_services
from gateway import tokens
from gateway.api import access, live
from gateway.models import UsageRecord
from gateway.pictures import Picture, PoolPicture
from gateway.scopes import ADMIN_SCOPES
from scheduling import selectors, services
from scheduling.models import Backend, BackendReading, Change

pytestmark = pytest.mark.django_db
PROBLEM = "application/problem+json"


class Api:
    """A client with an API token."""

    def __init__(self, secret: str) -> None:
        self.client = Client(headers={"authorization": f"Bearer {secret}"} if secret else {})

    def __call__(self, method: str, path: str, body: object = None, **query: object):
        return self.client.generic(
            method,
            f"/api/v1/{path}",
            "" if body is None else json.dumps(body),
            content_type="application/json",
            query_params=query or None,
        )

    def items(self, path: str, **query: object) -> list[dict]:
        return self("GET", path, **query).json()["items"]


def with_scopes(*scopes: str) -> Api:
    issued = gateway_services.issue_admin_token(admin="ada", name="ci", scopes=scopes, by="cli")
    return Api(issued.secret)


@pytest.fixture
def api():
    get_user_model().objects.create_user("ada")
    return with_scopes(*ADMIN_SCOPES)


@pytest.fixture
def shop(api):
    services.create_pool("main", by="cli")
    services.create_model("org/llama", "main", by="cli")
    services.create_backend("gpu-0", "main", "http://10.0.0.5:8000", by="cli")
    services.create_tenant("chat", by="cli", quotas={"in_flight": 8})
    return api


def is_problem(answer, status: int) -> dict:
    assert (answer.status_code, answer["Content-Type"]) == (status, PROBLEM)
    document = answer.json()
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document


def test_a_tenant_is_made_changed_read_and_removed(api) -> None:
    made = api("POST", "tenants", {"slug": "lab", "weight": 2, "quotas": {"queued": 9}, "why": "a pilot"})
    assert made.status_code == 201
    assert made.json()["quotas"] == {"queued": 9}

    changed = api(
        "PATCH",
        "tenants/lab",
        {
            "weight": 5,
            "priority_class": "batch",
            "quotas": {"queued": None, "in_flight": 3},
            "suspended": True,
        },
    )
    assert changed.status_code == 200
    body = api("GET", "tenants/lab").json()
    assert changed.json() == body
    del body["created_at"]
    assert body == {
        "slug": "lab",
        "name": "lab",
        "weight": 5,
        "priority_class": "batch",
        "quotas": {"in_flight": 3},
        "suspended": True,
    }

    assert api("DELETE", "tenants/lab").status_code == 204
    is_problem(api("GET", "tenants/lab"), 404)
    first = Change.objects.get(noun="tenant", verb="create")
    assert (first.by, first.why) == ("token:ada/ci", "a pilot")


def test_a_change_of_several_fields_is_all_or_nothing(shop) -> None:
    revision = selectors.revision()
    answer = shop("PATCH", "tenants/chat", {"weight": 9, "quotas": {"gold": 1}})
    problem = is_problem(answer, 422)
    assert problem["errors"][0]["field"] == "quotas"
    assert selectors.revision() == revision
    assert shop("GET", "tenants/chat").json()["weight"] == 1


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"weigth": 3}, "weigth", "not permitted"),
        ({"weight": "3"}, "weight", "integer"),
        ({"weight": None}, "weight", "integer"),
        ({"weight": 0}, "weight", "greater than or equal to 1"),
        ({"priority_class": "vip"}, "priority_class", "interactive"),
        ({"id": 7}, "id", "not permitted"),
    ],
)
def test_bad_input_names_the_field_and_the_mend(shop, body, field, says) -> None:
    problem = is_problem(shop("PATCH", "tenants/chat", body), 422)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert says in problem["errors"][0]["message"]


def test_what_is_there_already_or_in_use_is_a_conflict(shop) -> None:
    is_problem(shop("POST", "tenants", {"slug": "chat"}), 409)
    assert "gpu-0" in is_problem(shop("DELETE", "pools/main"), 409)["detail"]


def test_broken_json_and_unknown_addresses_are_problems_too(shop) -> None:
    broken = shop.client.generic("POST", "/api/v1/tenants", "{", content_type="application/json")
    is_problem(broken, 400)
    is_problem(shop("GET", "nothing"), 404)
    is_problem(Api("")("GET", "nothing"), 404)


@pytest.mark.parametrize("secret", ["", "nonsense", tokens.generate("fla_")])
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


def test_lists_come_in_pages_that_new_rows_do_not_move(api) -> None:
    for number in range(5):
        services.create_tenant(f"t{number}", by="cli")
    first = api("GET", "tenants", limit=2).json()
    services.create_tenant("a-newcomer", by="cli")
    seen, cursor = [row["slug"] for row in first["items"]], first["next_cursor"]
    while cursor:
        page = api("GET", "tenants", limit=2, cursor=cursor).json()
        seen += [row["slug"] for row in page["items"]]
        cursor = page["next_cursor"]
    assert seen == ["t0", "t1", "t2", "t3", "t4"]


@pytest.mark.parametrize("query", [{"limit": 201}, {"limit": 0}, {"cursor": "%%%"}, {"cursor": "bm8"}])
def test_a_page_that_cannot_be_is_refused(api, query) -> None:
    is_problem(api("GET", "changes", **query), 422)


def test_an_api_token_is_issued_once_listed_and_revoked(shop) -> None:
    until = (timezone.now() + timedelta(days=9)).isoformat()
    made = shop(
        "POST", "tokens", {"tenant": "chat", "name": "app", "class_ceiling": "batch", "expires_at": until}
    )
    assert made.status_code == 201
    secret, number = made.json()["secret"], made.json()["token"]["id"]
    assert tokens.digest(secret) in gateway_selectors.callers().by_digest

    (listed,) = shop.items("tokens", tenant="chat")
    assert (listed["id"], listed["class_ceiling"], listed["tenant"]) == (number, "batch", "chat")
    assert secret not in shop("GET", f"tokens/{number}").content.decode()
    assert shop("DELETE", f"tokens/{number}").json()["revoked_at"]
    assert shop.items("tokens", tenant="chat") == []
    assert len(shop.items("tokens", tenant="chat", revoked="true")) == 1
    assert not gateway_selectors.callers().by_digest
    is_problem(shop("DELETE", "tokens/0"), 404)


def test_models_with_slashes_are_reached_by_name(shop) -> None:
    assert shop("GET", "models/org/llama").json()["pool"] == "main"
    assert shop("POST", "pools", {"name": "side"}).status_code == 201
    assert shop("PATCH", "models/org/llama", {"pool": "side"}).json()["pool"] == "side"
    assert [row["models"] for row in shop.items("pools")] == [[], ["org/llama"]]
    assert shop("DELETE", "models/org/llama").status_code == 204
    assert shop("DELETE", "pools/side").status_code == 204
    assert shop("POST", "models", {"name": "qwen", "pool": "main"}).status_code == 201


def test_a_backend_is_changed_drained_and_resumed_and_its_api_key_stays_inside(shop) -> None:
    made = shop(
        "POST",
        "backends",
        {"name": "gpu-1", "pool": "main", "url": "http://gpu-1:8000", "api_key": "hunter2"},
    )
    assert (made.status_code, made.json()["has_api_key"]) == (201, True)
    assert "hunter2" not in made.content.decode()
    assert selectors.endpoints()["gpu-1"].api_key == "hunter2"
    changed = shop("PATCH", "backends/gpu-1", {"models": ["org/llama"], "max_in_flight": 4}).json()
    assert (changed["models"], changed["max_in_flight"], changed["has_api_key"]) == (["org/llama"], 4, True)
    assert shop("POST", "backends/gpu-1/drain", {}).json()["draining"]
    assert not shop("POST", "backends/gpu-1/resume", {"why": "repaired"}).json()["draining"]
    assert [row["name"] for row in shop.items("backends")] == ["gpu-0", "gpu-1"]
    is_problem(shop("PATCH", "backends/gpu-1", {"url": "http://169.254.169.254"}), 422)
    assert shop("DELETE", "backends/gpu-1").status_code == 204


def test_a_backends_readings_are_listed(shop) -> None:
    BackendReading.objects.create(
        backend=Backend.objects.get(), at=timezone.now(), window=3, cap=32, running=4, reason="steady"
    )
    (reading,) = shop.items("backends/gpu-0/readings")
    assert (reading["running"], reading["waiting"], reading["reason"]) == (4, None, "steady")


def test_policies_and_classes_are_read_and_changed(shop) -> None:
    changed = shop("PATCH", "policies/main", {"fairness": "fifo", "tpot_target_ms": 150})
    assert changed.json() == shop("GET", "policies/main").json() == shop.items("policies")[0]
    assert (changed.json()["fairness"], changed.json()["tpot_target_ms"]) == ("fifo", 150)
    assert shop("PATCH", "policies/main", {"tpot_target_ms": None}).json()["tpot_target_ms"] is None
    assert shop("PATCH", "classes/batch", {"max_wait_s": None}).json()["max_wait_s"] is None
    assert [row["name"] for row in shop.items("classes")] == ["interactive", "standard", "batch"]


def test_an_edit_is_found_in_the_audit_and_undone(shop) -> None:
    shop("PATCH", "tenants/chat", {"weight": 9})
    (change,) = shop.items("changes", noun="tenant", target="chat", limit=1)
    assert (change["field"], change["before"], change["after"], change["reversible"]) == (
        "weight",
        1,
        9,
        True,
    )
    undone = shop("POST", f"changes/{change['id']}/undo", {"why": "a slip"})
    assert (undone.json()["verb"], undone.json()["why"]) == ("undo", "a slip")
    assert shop("GET", f"changes/{change['id']}").json()["undone_by"] == undone.json()["id"]
    is_problem(shop("POST", f"changes/{change['id']}/undo", {}), 409)
    is_problem(shop("GET", "changes/0"), 404)


@pytest.fixture
def used(api):
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for number in range(3):
        UsageRecord.objects.create(
            request_id=f"req-{number}",
            tenant="chat",
            model="llama",
            accepted_at=noon,
            ended_at=noon + timedelta(minutes=30 * number),
            priority_class="standard",
            endpoint="chat",
            stream=True,
            prompt_tokens=10,
            completion_tokens=5,
            cost=20,
            outcome="ok",
            status=200,
        )
    return {"since": "2026-03-01T00:00:00Z", "until": "2026-03-02T00:00:00Z"}


def test_usage_is_summed_and_its_records_are_listed(api, used) -> None:
    (row,) = api.items("usage", **used)
    assert (row["tenant"], row["model"], row["requests"], row["cost"]) == ("chat", "llama", 3, 60)
    hours = api.items("usage", by="tenant", bucket="hour", **used)
    assert [row["requests"] for row in hours] == [2, 1]
    records = api.items("usage/records", tenant="chat", outcome="ok", limit=2, **used)
    assert [row["request_id"] for row in records] == ["req-2", "req-1"]
    assert api.items("usage") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"since": "2026-03-02T00:00:00Z", "until": "2026-03-01T00:00:00Z"}, "since"),
        ({"since": "2026-03-02T00:00:00"}, "since"),
        ({"since": "2020-03-02T00:00:00Z", "bucket": "minute"}, "bucket"),
        ({"bucket": "year"}, "bucket"),
    ],
)
def test_usage_that_cannot_be_summed_says_why(api, query, field) -> None:
    problem = is_problem(api("GET", "usage", **query), 422)
    assert problem["errors"][0]["field"] == field


def test_queues_are_the_live_picture(api, monkeypatch) -> None:
    pool = PoolPicture("main", "token_fair", 7, 2, 1500, 120.5, 0.98, (), ())
    monkeypatch.setattr(live, "read_picture_sync", lambda: Picture(1.5, 9, 1, (pool,)))
    picture = api("GET", "queues").json()
    assert (picture["revision"], picture["pools"][0]["queued"]) == (9, 7)
    assert api("GET", "queues/main").json()["oldest_wait_ms"] == 1500
    is_problem(api("GET", "queues/side"), 404)


def test_queues_are_empty_when_no_gateway_publishes(api, valkey) -> None:
    assert api("GET", "queues").json()["pools"] == []


@pytest.mark.parametrize("away", [RedisError("gone"), OperationalError("gone")])
def test_what_is_away_is_said_and_worth_a_retry(api, monkeypatch, away) -> None:
    def gone():
        raise away

    monkeypatch.setattr(live, "read_picture_sync", gone)
    answer = api("GET", "queues")
    is_problem(answer, 503)
    assert answer["Retry-After"] == "1"


def test_a_fault_of_ours_is_a_problem_without_its_inside(api, monkeypatch, caplog) -> None:
    def broken():
        raise ZeroDivisionError("inner workings")

    monkeypatch.setattr(live, "read_picture_sync", broken)
    assert "inner" not in is_problem(api("GET", "queues"), 500)["detail"]
    assert "inner workings" in caplog.text


def test_every_answer_is_declared_in_the_openapi_document() -> None:
    document = Client().get("/api/v1/openapi.json").json()
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert len(operations) > 30
    for operation in operations:
        assert {"400", "401", "403", "404", "409", "422", "429", "503"} < operation["responses"].keys()
        assert list(operation["responses"]["404"]["content"]) == [PROBLEM]
        assert operation["security"]
        assert operation["description"]


def test_the_docs_page_uses_our_own_files_and_no_inline_script() -> None:
    page = Client().get("/api/v1/docs")
    text = page.content.decode()
    assert page.status_code == 200
    assert "http" not in text.replace("https://", "http://").split("<body>")[1].replace("openapi.json", "")
    assert "script-src 'self'" in page["Content-Security-Policy"]
    assert text.count("<script") == text.count("<script src=") + text.count('type="application/json"')
    assert "/static/ninja/swagger-ui-bundle.js" in text
    assert finders.find("ninja/swagger-ui-bundle.js")
