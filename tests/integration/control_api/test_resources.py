"""Everything a script may read, make, change and remove over the control API."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from gateway import selectors as gateway_selectors
from gateway import tokens
from scheduling import selectors, services
from scheduling.models import Backend, BackendReading, Change
from tests.integration.control_api.script import Api, is_problem

pytestmark = pytest.mark.django_db


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
        "model_quotas": {},
        "suspended": True,
        "paused": False,
        "boost": 1,
        "boost_until": None,
    }

    assert api("DELETE", "tenants/lab").status_code == 204
    is_problem(api("GET", "tenants/lab"), 404)
    first = Change.objects.get(noun="tenant", verb="create")
    assert (first.by, first.why) == ("token:ada/ci", "a pilot")


def test_a_model_has_prices_and_a_tenant_quotas_for_it(shop) -> None:
    prices = {"prompt": 150_000, "completion": 600_000}
    assert (
        shop("POST", "models", {"name": "small", "pool": "main", "prices": prices}).json()["prices"] == prices
    )
    assert shop("PATCH", "models/small", {"prices": {"prompt": 9}}).json()["prices"] == {"prompt": 9}
    refusing = {"limit": 600, "when_exhausted": "refuse"}
    body = {
        "quotas": {"tokens_per_minute": refusing},
        "model_quotas": {"small": {"queued": 5, "in_flight": 2}},
    }
    assert shop("PATCH", "tenants/chat", body).status_code == 200
    shop("PATCH", "tenants/chat", {"model_quotas": {"small": {"queued": None}}})

    tenant = shop("GET", "tenants/chat").json()
    assert tenant["quotas"] == {"in_flight": 8, "tokens_per_minute": refusing}
    assert tenant["model_quotas"] == {"small": {"in_flight": 2}}
    issued = shop("POST", "tokens", {"tenant": "chat", "name": "ci", "quotas": {"tokens_per_day": 70}})
    assert issued.json()["token"]["quotas"] == {"tokens_per_day": 70}
    problem = is_problem(shop("POST", "tokens", {"tenant": "chat", "name": "b", "quotas": {"gold": 7}}), 422)
    assert problem["errors"][0]["field"] == "quotas"


def test_a_tenant_is_paused_boosted_and_let_go_on(shop) -> None:
    assert shop("PATCH", "tenants/chat", {"paused": True}).json()["paused"] is True
    both = is_problem(shop("PATCH", "tenants/chat", {"paused": True, "suspended": True}), 422)
    assert both["errors"][0]["field"] == "paused"
    suspended = shop("PATCH", "tenants/chat", {"suspended": True}).json()
    assert (suspended["suspended"], suspended["paused"]) == (True, False)
    assert shop("PATCH", "tenants/chat", {"paused": False}).json()["suspended"] is True
    assert shop("PATCH", "tenants/chat", {"suspended": False}).json()["suspended"] is False

    boosted = shop("POST", "tenants/chat/boost", {"factor": 3, "minutes": 5, "why": "a demo"}).json()
    assert boosted["boost"] == 3
    assert datetime.fromisoformat(boosted["boost_until"]) > timezone.now()
    problem = is_problem(shop("POST", "tenants/chat/boost", {"factor": 3, "minutes": 2000}), 422)
    assert (problem["errors"][0]["field"], "1440" in str(problem)) == ("minutes", True)
    assert shop("DELETE", "tenants/chat/boost").json()["boost"] == 1

    services.set_boost("chat", 3, timezone.now() - timedelta(minutes=1), by="cli")
    assert shop("GET", "tenants/chat").json()["boost"] == 1


def test_a_pool_is_paused_and_costs_what_its_rule_says(shop) -> None:
    change = {"paused": True, "prompt_weight": 2, "completion_weight": 5, "cached_discount_percent": 80}
    policy = shop("PATCH", "policies/main", change).json()
    assert {name: policy[name] for name in change} == change
    problem = is_problem(shop("PATCH", "policies/main", {"completion_weight": 101}), 422)
    assert problem["errors"][0]["field"] == "completion_weight"


def test_a_class_lends_no_more_than_it_reserves(shop) -> None:
    lending = {"reserved_seats": 4, "lent_seats": 2}
    answer = shop("PATCH", "classes/interactive", lending).json()
    assert {name: answer[name] for name in lending} == lending
    problem = is_problem(shop("PATCH", "classes/interactive", {"reserved_seats": 1}), 422)
    assert problem["errors"][0]["field"] == "lent_seats"
    assert "reserve more" in str(problem)


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
        ({"quotas": {"in_flight": 0}}, "quotas", "To let nobody in, suspend the tenant"),
        ({"model_quotas": {"org/llama": {"in_flight": 0}}}, "quotas", "To let nobody in"),
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


@pytest.mark.parametrize(
    "query", [{"limit": 201}, {"limit": 0}, {"cursor": "%%%"}, {"cursor": "bm8"}, {"cursor": "MWU5OTk"}]
)
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


def test_an_api_token_is_issued_for_some_models_only(shop) -> None:
    made = shop("POST", "tokens", {"tenant": "chat", "name": "app", "models": ["org/llama"]})

    assert made.json()["token"]["models"] == ["org/llama"]
    caller = gateway_selectors.callers().by_digest[tokens.digest(made.json()["secret"])]
    assert caller.models == {"org/llama"}
    unknown = shop("POST", "tokens", {"tenant": "chat", "name": "other", "models": ["nope"]})
    assert is_problem(unknown, 422)["errors"][0]["field"] == "models"


def test_an_api_token_has_a_time_of_its_own_until_the_status_line(shop) -> None:
    for number, hold in enumerate((None, 0, 2.5, "inf")):
        wanted = {"tenant": "chat", "name": f"app-{number}", "hold_status_s": hold}
        made = shop("POST", "tokens", wanted).json()
        assert made["token"]["hold_status_s"] == hold
        assert shop("GET", f"tokens/{made['token']['id']}").json()["hold_status_s"] == hold
        caller = gateway_selectors.callers().by_digest[tokens.digest(made["secret"])]
        assert caller.hold_s == (None if hold is None else float(hold))
    assert shop.items("changes")[0]["after"]["hold_status_s"] == "inf"
    for bad in (-1, "never", "nan", True, [0]):
        refused = shop("POST", "tokens", {"tenant": "chat", "name": "bad", "hold_status_s": bad})
        (error,) = is_problem(refused, 422)["errors"]
        assert error["field"] == "hold_status_s"
        assert "seconds from 0" in error["message"]


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
