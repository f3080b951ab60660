"""What admins say of engines: learned caps, polls, laws, and whose order the engine keeps."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from scheduling import selectors, services
from scheduling.core import policy
from scheduling.models import Backend
from tests.integration.services.rules import BY, written

pytestmark = pytest.mark.django_db


def test_a_backend_without_a_cap_learns_it_and_begins_at_32(shop) -> None:
    learns = selectors.policy().backends["gpu-0"]
    assert (learns.learns_cap, learns.max_in_flight, learns.kv_tokens) == (True, 32, None)

    services.change_backend("gpu-0", by=BY, max_in_flight=8, kv_tokens=40_000)
    told = selectors.policy().backends["gpu-0"]
    assert (told.learns_cap, told.max_in_flight, told.kv_tokens) == (False, 8, 40_000)

    services.change_backend("gpu-0", by=BY, max_in_flight=None)
    assert selectors.policy().backends["gpu-0"].learns_cap


def test_an_endpoint_carries_its_own_poll_and_the_order_of_its_priorities(shop) -> None:
    usual = selectors.endpoints()["gpu-0"]
    assert (usual.poll_every_ms, usual.low_first) == (None, None)

    services.change_backend("gpu-0", by=BY, poll_every_ms=250, priority_order="low_first")
    assert (selectors.endpoints()["gpu-0"].poll_every_ms, selectors.endpoints()["gpu-0"].low_first) == (
        250,
        True,
    )
    services.change_backend("gpu-0", by=BY, priority_order="high_first")
    assert selectors.endpoints()["gpu-0"].low_first is False


def test_a_pool_has_its_law_with_all_that_belongs_to_it(shop) -> None:
    services.set_policy(
        "main",
        by=BY,
        admission="queue_target",
        counts_sent=True,
        kv_fill_percent=0,
        prefix_slack_requests=4,
        engine_priority="with_window",
    )
    rule = selectors.policy().pools["main"]
    assert (rule.admission, rule.counts_sent, rule.kv_fill_percent) == ("queue_target", True, 0)
    assert (rule.prefix_slack_requests, rule.engine_priority) == (4, "with_window")


@pytest.mark.parametrize("law", policy.ADMISSION)
def test_every_law_can_be_chosen(shop, law) -> None:
    services.set_policy("main", by=BY, admission=law, tpot_target_ms=80)
    assert selectors.policy().pools["main"].admission == law


@pytest.mark.parametrize("engine", policy.ENGINES)
def test_every_engine_can_be_chosen(shop, engine) -> None:
    services.change_backend("gpu-0", by=BY, engine=engine)
    assert selectors.endpoints()["gpu-0"].engine == engine


BACKEND_REFUSED = {
    "cap": ({"max_in_flight": 0}, "max_in_flight"),
    "negative cap": ({"max_in_flight": -1}, "max_in_flight"),
    "kv": ({"kv_tokens": 0}, "kv_tokens"),
    "too often": ({"poll_every_ms": 99}, "poll_every_ms"),
    "too seldom": ({"poll_every_ms": 60_001}, "poll_every_ms"),
    "order": ({"priority_order": "random"}, "priority_order"),
    "engine": ({"engine": "abacus"}, "engine"),
}


@pytest.mark.parametrize(("fields", "field"), BACKEND_REFUSED.values(), ids=BACKEND_REFUSED.keys())
def test_a_bad_engine_setting_is_refused_by_field(shop, fields, field) -> None:
    before = written()
    with pytest.raises(ValidationError) as refused:
        services.change_backend("gpu-0", by=BY, **fields)
    assert list(refused.value.message_dict) == [field]
    assert written() == before


POLICY_REFUSED = {
    "law": ({"admission": "luck"}, "admission", "first_token_window"),
    "kv fill": ({"kv_fill_percent": 49}, "kv_fill_percent", "50 to 100, or 0"),
    "kv fill over all": ({"kv_fill_percent": 101}, "kv_fill_percent", "100"),
    "slack": ({"prefix_slack_requests": 65}, "prefix_slack_requests", "64"),
    "mode": ({"engine_priority": "always"}, "engine_priority", "with_window"),
}


@pytest.mark.parametrize(("fields", "field", "says"), POLICY_REFUSED.values(), ids=POLICY_REFUSED.keys())
def test_a_bad_policy_is_refused_by_field_with_the_mend(shop, fields, field, says) -> None:
    before = written()
    with pytest.raises(ValidationError) as refused:
        services.set_policy("main", by=BY, **fields)
    assert says in " ".join(refused.value.message_dict[field])
    assert written() == before


@pytest.mark.parametrize("mode", ["with_window", "alone"])
def test_a_pool_without_an_engine_that_has_priorities_cannot_send_any(shop, mode) -> None:
    services.change_backend("gpu-0", by=BY, engine="tgi")
    with pytest.raises(ValidationError, match="Only vllm and sglang have them"):
        services.set_policy("main", by=BY, engine_priority=mode)


def test_beside_the_window_one_engine_with_priorities_is_enough_and_alone_all_need_them(shop) -> None:
    services.create_backend("cpu-0", "main", "http://c:1", by=BY, engine="llamacpp")
    services.set_policy("main", by=BY, engine_priority="with_window")
    with pytest.raises(ValidationError, match="The engine of cpu-0 has no priorities"):
        services.set_policy("main", by=BY, engine_priority="alone")

    services.change_backend("cpu-0", by=BY, engine="sglang")
    services.set_policy("main", by=BY, engine_priority="alone")
    assert selectors.policy().pools["main"].engine_priority == "alone"


@pytest.mark.parametrize(
    "write",
    [
        lambda: services.create_backend("cpu-0", "main", "http://c:1", by=BY, engine="ollama"),
        lambda: services.change_backend("gpu-0", by=BY, engine="ollama"),
        lambda: services.change_backend("cpu-1", by=BY, pool="main"),
    ],
)
def test_no_engine_without_priorities_joins_a_pool_that_leaves_all_order_to_engines(shop, write) -> None:
    services.create_pool("side", by=BY)
    services.create_backend("cpu-1", "side", "http://c:1", by=BY, engine="ollama")
    services.set_policy("main", by=BY, engine_priority="alone")
    before = written()
    with pytest.raises(ValidationError, match="engine_priority to with_window first"):
        write()
    assert written() == before


def test_other_fields_of_a_policy_can_change_when_the_last_engine_with_priorities_is_gone(shop) -> None:
    services.set_policy("main", by=BY, engine_priority="with_window")
    services.delete_backend("gpu-0", by=BY)
    services.set_policy("main", by=BY, window_requests=5, engine_priority="with_window")
    assert selectors.policy().pools["main"].window_requests == 5


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE scheduling_backend SET engine = 'abacus'",
        "UPDATE scheduling_backend SET poll_every_ms = 50",
        "UPDATE scheduling_backend SET kv_tokens = 0",
        "UPDATE scheduling_backend SET priority_order = 'random'",
        "UPDATE scheduling_schedulingpolicy SET admission = 'luck'",
        "UPDATE scheduling_schedulingpolicy SET kv_fill_percent = 20",
        "UPDATE scheduling_schedulingpolicy SET prefix_slack_requests = 65",
        "UPDATE scheduling_schedulingpolicy SET engine_priority = 'always'",
    ],
)
def test_the_database_itself_refuses_bad_engine_settings(shop, statement) -> None:
    assert Backend.objects.exists()
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
