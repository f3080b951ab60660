"""Writing the rules: one transaction, one revision, one audit row."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from scheduling import models, selectors, services
from scheduling.core.usage import CostRule
from tests.integration.services.rules import BY, written

pytestmark = pytest.mark.django_db

WRITES = {
    "create_tenant": lambda: services.create_tenant("lab", by=BY),
    "rename_tenant": lambda: services.rename_tenant("chat", "Chat!", by=BY),
    "set_weight": lambda: services.set_weight("chat", 9, by=BY),
    "set_class": lambda: services.set_class("chat", "batch", by=BY),
    "set_quota": lambda: services.set_quota("chat", "queued", 5, by=BY),
    "quota of a model": lambda: services.set_quota("chat", "queued", 5, model="qwen", by=BY),
    "set_prices": lambda: services.set_prices("qwen", {"prompt": 5, "completion": 9}, by=BY),
    "remove quota": lambda: services.set_quota("research", "in_flight", None, by=BY),
    "pause_tenant": lambda: services.pause_tenant("chat", by=BY),
    "boost_tenant": lambda: services.boost_tenant("chat", 3, 30, by=BY),
    "pause_pool": lambda: services.pause_pool("main", by=BY),
    "suspend_tenant": lambda: services.suspend_tenant("chat", by=BY),
    "delete_tenant": lambda: services.delete_tenant("chat", by=BY),
    "create_pool": lambda: services.create_pool("side", by=BY),
    "create_model": lambda: services.create_model("mistral", "main", by=BY),
    "delete_model": lambda: services.delete_model("qwen", by=BY),
    "create_backend": lambda: services.create_backend("gpu-1", "main", "http://h", by=BY, models=["qwen"]),
    "change_backend": lambda: services.change_backend("gpu-0", by=BY, max_in_flight=4, models=["qwen"]),
    "drain_backend": lambda: services.drain_backend("gpu-0", by=BY),
    "delete_backend": lambda: services.delete_backend("gpu-0", by=BY),
    "set_policy": lambda: services.set_policy("main", by=BY, fairness="fifo", tpot_target_ms=150),
    "create_alias": lambda: services.create_alias("fast", {"llama": 3, "qwen": 1}, by=BY, fallbacks=["qwen"]),
    "create_priority_class": lambda: services.create_priority_class("night", by=BY),
    "set_priority_class": lambda: services.set_priority_class("batch", by=BY, max_wait_s=60),
    "delete_priority_class": lambda: services.delete_priority_class("batch", by=BY),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_write_makes_exactly_one_revision_and_one_change(shop, write) -> None:
    revision, changes = written()

    write()

    assert written() == (revision + 1, changes + 1)
    change = models.Change.objects.latest("id")
    assert (change.by, change.revision) == (BY, revision + 1)
    assert change.before != change.after


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda: services.set_weight("research", 3, by=BY), id="weight"),
        pytest.param(lambda: services.set_quota("research", "in_flight", 8, by=BY), id="quota"),
        pytest.param(lambda: services.set_quota("chat", "queued", None, by=BY), id="no quota"),
        pytest.param(lambda: services.set_policy("main", by=BY, window_requests=3), id="policy"),
        pytest.param(lambda: services.change_backend("gpu-0", by=BY, models=[], api_key=""), id="backend"),
        pytest.param(lambda: services.resume_tenant("chat", by=BY), id="resume"),
        pytest.param(lambda: services.resume_pool("main", by=BY), id="resume pool"),
        pytest.param(lambda: services.end_boost("chat", by=BY), id="no boost"),
        pytest.param(lambda: services.set_state("chat", by=BY, paused=False), id="not paused"),
    ],
)
def test_a_write_that_changes_nothing_leaves_no_trace(shop, write) -> None:
    before = written()
    write()
    assert written() == before


def weight(value):
    return lambda: services.set_weight("chat", value, by=BY)


def boost(factor, minutes):
    return lambda: services.boost_tenant("chat", factor, minutes, by=BY)


def cost(**fields):
    return lambda: services.set_policy("main", by=BY, **fields)


def quota(kind, limit):
    return lambda: services.set_quota("chat", kind, limit, by=BY)


def backend(**fields):
    return lambda: services.change_backend("gpu-0", by=BY, **fields)


@pytest.mark.parametrize(
    ("write", "field", "says"),
    [
        pytest.param(weight(0), "weight", "greater than or equal to 1", id="weight 0"),
        pytest.param(weight(1001), "weight", "less than or equal to 1000", id="weight 1001"),
        pytest.param(boost(1, 5), "factor", "from 2 to 100", id="boost of 1"),
        pytest.param(boost(101, 5), "factor", "from 2 to 100", id="boost of 101"),
        pytest.param(boost(2, 0), "minutes", "from 1 to 1440", id="boost without an end"),
        pytest.param(boost(2, 1441), "minutes", "24 hours", id="boost of more than a day"),
        pytest.param(
            lambda: services.set_boost("chat", 2, timezone.now() + timedelta(hours=25), by=BY),
            "boost",
            "within 24 hours",
            id="boost until after tomorrow",
        ),
        pytest.param(
            lambda: services.set_state("chat", by=BY, suspended=True, paused=True),
            "paused",
            "not both",
            id="paused and suspended",
        ),
        pytest.param(
            lambda: services.set_priority_class("interactive", by=BY, reserved_seats=1, lent_seats=2),
            "lent_seats",
            "Lend fewer",
            id="lent seats",
        ),
        pytest.param(cost(prompt_weight=0), "prompt_weight", "greater than or equal to 1", id="free prompts"),
        pytest.param(cost(completion_weight=101), "completion_weight", "100", id="dear completions"),
        pytest.param(cost(cached_discount_percent=101), "cached_discount_percent", "100", id="discount"),
        pytest.param(
            lambda: services.set_class("chat", "vip", by=BY),
            "priority_class",
            "batch, interactive",
            id="class",
        ),
        pytest.param(quota("gold", 1), "quotas", "requests_per_minute", id="quota kind"),
        pytest.param(quota("in_flight", 0), "quotas", "not 0. To let nobody in, suspend", id="quota 0"),
        pytest.param(quota("queued", 10**16), "quotas", f"from 1 to {10**15}, not", id="quota too large"),
        pytest.param(
            lambda: services.set_quota("chat", "queued", {"limit": 5, "when_exhausted": "refuse"}, by=BY),
            "quotas",
            "when_exhausted is for requests_per_minute and tokens_per_minute",
            id="refusing queue",
        ),
        pytest.param(
            lambda: services.set_quota("chat", "queued", 5, model="gpt", by=BY),
            "model",
            "qwen",
            id="quota model",
        ),
        pytest.param(
            lambda: services.set_prices("qwen", {"promt": 5}, by=BY), "prices", "prompt", id="price kind"
        ),
        pytest.param(
            lambda: services.create_tenant("chat", by=BY), "slug", "already exists", id="slug taken"
        ),
        pytest.param(lambda: services.create_tenant("a b", by=BY), "slug", "letters", id="slug with a blank"),
        pytest.param(
            lambda: services.set_policy("main", by=BY, fairness="lifo"),
            "fairness",
            "token_fair",
            id="fairness",
        ),
        pytest.param(lambda: services.create_model("x", "nowhere", by=BY), "pool", "main", id="pool"),
        pytest.param(backend(models=["gpt"]), "models", "llama, qwen", id="models"),
        pytest.param(backend(engine="tensor"), "engine", "vllm", id="engine"),
        pytest.param(backend(url="ftp://h"), "url", "http://", id="scheme"),
        pytest.param(backend(url="http://"), "url", "no host", id="no host"),
        pytest.param(backend(url="http://u:p@h"), "url", "api_key", id="user info"),
        pytest.param(backend(url="http://h/?a=1"), "url", "before any ?", id="query"),
        pytest.param(backend(url="http://h/#a"), "url", "before any ?", id="fragment"),
        pytest.param(backend(url="http://h:x"), "url", "not a URL", id="port"),
        pytest.param(backend(url="http://169.254.169.254/"), "url", "link-local", id="cloud metadata"),
        pytest.param(backend(url="http://[fe80::1]:80"), "url", "link-local", id="link-local IPv6"),
        pytest.param(backend(url="http://[::ffff:169.254.1.1]"), "url", "link-local", id="mapped IPv4"),
    ],
)
def test_bad_input_is_refused_by_field_and_writes_nothing(shop, write, field, says) -> None:
    before = written()

    with pytest.raises(ValidationError) as refused:
        write()

    assert says in " ".join(refused.value.message_dict[field])
    assert written() == before


def test_a_link_local_backend_is_allowed_by_its_knob(shop, settings) -> None:
    settings.KNOBS = {**settings.KNOBS, "FAIRLANE_LINK_LOCAL_BACKENDS": 1}
    row = services.change_backend("gpu-0", by=BY, url="http://169.254.1.1:8000/")
    assert row.url == "http://169.254.1.1:8000"


def test_an_engine_on_a_bare_host_name_is_a_fine_backend(shop) -> None:
    services.change_backend("gpu-0", by=BY, url="http://vllm:8000/base/")
    assert selectors.endpoints()["gpu-0"].url == "http://vllm:8000/base"


@pytest.mark.parametrize(
    ("write", "says"),
    [
        pytest.param(lambda: services.delete_pool("main", by=BY), "gpu-0, llama, qwen", id="pool in use"),
        pytest.param(
            lambda: services.delete_priority_class("interactive", by=BY), "tenant chat", id="class in use"
        ),
        pytest.param(lambda: services.delete_model("qwen", by=BY), "gpu-0", id="listed model"),
        pytest.param(lambda: services.move_model("qwen", "side", by=BY), "gpu-0", id="listed model moves"),
    ],
)
def test_what_is_in_use_is_not_deleted_and_the_message_says_by_whom(shop, write, says) -> None:
    services.create_pool("side", by=BY)
    services.change_backend("gpu-0", by=BY, models=["qwen"])
    with pytest.raises(services.Conflict, match=says):
        write()


@pytest.mark.parametrize(
    "write",
    [
        lambda: services.set_weight("nobody", 2, by=BY),
        lambda: services.drain_backend("gpu-9", by=BY),
        lambda: services.set_policy("nowhere", by=BY, window_requests=4),
        lambda: services.undo(0, by=BY),
    ],
)
def test_what_does_not_exist_is_missing(shop, write) -> None:
    with pytest.raises(services.Missing, match="There is no"):
        write()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE scheduling_tenant SET weight = 0",
        "UPDATE scheduling_tenant SET weight = 1001",
        "UPDATE scheduling_tenant SET state = 'gone'",
        "UPDATE scheduling_tenant SET boost = 101, boost_until = now()",
        "UPDATE scheduling_tenant SET boost = 2",
        "UPDATE scheduling_priorityclass SET lent_seats = reserved_seats + 1",
        "UPDATE scheduling_schedulingpolicy SET prompt_weight = 0",
        "UPDATE scheduling_schedulingpolicy SET completion_weight = 101",
        "UPDATE scheduling_schedulingpolicy SET cached_discount_percent = 101",
        "UPDATE scheduling_backend SET url = 'ftp://x'",
        "UPDATE scheduling_backend SET max_in_flight = 0",
        "UPDATE scheduling_backend SET engine = 'x'",
        'UPDATE scheduling_quota SET "limit" = 0',
        "UPDATE scheduling_quota SET kind = 'x'",
        "UPDATE scheduling_quota SET waits = false",
        "UPDATE scheduling_schedulingpolicy SET window_requests = 129",
        "UPDATE scheduling_schedulingpolicy SET fairness = 'x'",
        "INSERT INTO scheduling_revision (id, number) VALUES (2, 1)",
    ],
)
def test_the_database_itself_holds_the_rules(shop, sql) -> None:
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)


def test_the_policy_has_every_rule_under_its_revision(shop) -> None:
    services.suspend_tenant("chat", by=BY)
    services.set_policy("main", by=BY, tpot_target_ms=150, fairness="round_robin")

    policy = selectors.policy()

    assert policy.revision == selectors.revision()
    assert policy.tenants["research"].weight == 3
    assert dict(policy.tenants["research"].quotas) == {"in_flight": 8}
    assert policy.tenants["chat"].suspended
    assert policy.classes["batch"].max_wait_ms == 120_000
    assert (policy.pools["main"].fairness, policy.pools["main"].tpot_target_ms) == ("round_robin", 150)
    assert policy.backends["gpu-0"].models == {"llama", "qwen"}  # none listed: all of its pool
    assert dict(policy.models) == {"llama": "main", "qwen": "main"}


def test_the_policy_says_who_is_paused_boosted_and_what_tokens_cost(shop) -> None:
    services.pause_tenant("chat", by=BY)
    services.boost_tenant("research", 4, 10, by=BY)
    services.pause_pool("main", by=BY)
    services.set_policy("main", by=BY, completion_weight=4, cached_discount_percent=50)
    services.set_priority_class("interactive", by=BY, reserved_seats=3, lent_seats=2)

    policy, now_s = selectors.policy(), timezone.now().timestamp()

    assert (policy.tenants["chat"].paused, policy.tenants["chat"].suspended) == (True, False)
    assert [policy.tenants["research"].boost_at(now_s + later_s) for later_s in (0, 590, 601)] == [4, 4, 1]
    assert policy.pools["main"].paused
    assert policy.pools["main"].cost == CostRule(1, 4, 50)
    assert (policy.classes["interactive"].reserved_seats, policy.classes["interactive"].lent_seats) == (3, 2)


def test_a_backend_that_lists_models_serves_only_these(shop) -> None:
    services.change_backend("gpu-0", by=BY, models=["qwen"])
    assert selectors.policy().backends["gpu-0"].models == {"qwen"}


def test_the_audit_of_a_removed_model_names_the_quotas_that_went_with_it(shop) -> None:
    services.set_quota("chat", "queued", 5, model="qwen", by=BY)
    services.delete_model("qwen", by=BY)

    assert selectors.changes()[0].before == {"pool": "main", "quotas": ["chat queued 5"]}
    assert not models.Quota.objects.filter(tenant__slug="chat").exists()
