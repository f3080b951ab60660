"""Issuing and revoking API tokens, and what the data plane and the console read of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.utils import timezone

from gateway import selectors, services, tokens
from gateway.callers import Caller, CallerTable
from gateway.models import ApiToken
from scheduling import selectors as rules
from scheduling import services as scheduling
from scheduling.models import Change
from tests.fakes.usage import save, used

pytestmark = pytest.mark.django_db
BY = "cli"


@pytest.fixture(autouse=True)
def chat():
    get_user_model().objects.create_user("ada")
    return scheduling.create_tenant("chat", by=BY)


def issue(name="ci", **settings):
    return services.issue_token(tenant="chat", name=name, by=BY, **settings)


def issue_admin(**settings):
    return services.issue_admin_token(
        **{"admin": "ada", "name": "ci", "scopes": ["tenants:write"], "by": BY, **settings}
    )


def test_an_issued_api_token_is_in_the_next_table() -> None:
    later = timezone.now() + timedelta(days=90)
    issued = issue(class_ceiling="batch", expires_at=later)

    table = selectors.callers()

    assert table.revision == rules.revision()
    assert table.by_digest[tokens.digest(issued.secret)] == Caller(
        token_id=issued.token.pk,
        tenant="chat",
        token_name="ci",
        class_ceiling="batch",
        expires_at_s=later.timestamp(),
    )


def test_a_revoked_api_token_is_in_no_table_and_its_name_is_free_again() -> None:
    issued = issue()
    revision = rules.revision()

    services.revoke_token(issued.token.pk, by=BY)
    services.revoke_token(issued.token.pk, by=BY)

    assert rules.revision() == revision + 1
    assert not selectors.callers().by_digest
    assert issue().token.name == "ci"


def test_a_suspended_tenants_api_tokens_stay_in_the_table() -> None:
    issue()
    scheduling.suspend_tenant("chat", by=BY)
    assert len(selectors.callers().by_digest) == 1


def follow(edits):
    """The table as a process has it that reads what changed after each edit."""
    table = selectors.callers()
    for edit in edits:
        edit()
        table = selectors.callers(table)
    return table


def test_a_process_that_follows_has_the_same_table_as_one_that_begins() -> None:
    first, second = issue("one"), issue("two")
    scheduling.create_tenant("lab", by=BY)

    followed = follow(
        [
            lambda: services.revoke_token(first.token.pk, by=BY),
            lambda: scheduling.set_weight("chat", 4, by=BY),
            lambda: issue("three", class_ceiling="batch"),
            lambda: services.issue_token(tenant="lab", name="x", by=BY),
            issue_admin,
            lambda: (issue("four"), services.revoke_token(second.token.pk, by=BY)),
            lambda: scheduling.delete_tenant("lab", by=BY),
            lambda: None,
        ]
    )

    assert followed == selectors.callers()
    assert {caller.token_name for caller in followed.by_digest.values()} == {"three", "four"}


def test_an_edit_of_something_else_reads_no_api_token(django_assert_num_queries) -> None:
    issue("one")
    before = selectors.callers()
    scheduling.set_weight("chat", 4, by=BY)
    with django_assert_num_queries(2):
        after = selectors.callers(before)
    assert after.by_digest is before.by_digest
    assert after.revision == before.revision + 1


def test_a_process_that_missed_too_much_reads_everything(monkeypatch) -> None:
    first = issue("one")
    before = selectors.callers()
    monkeypatch.setattr(selectors, "MOST_EDITS", 2)
    services.revoke_token(first.token.pk, by=BY)
    for weight in (2, 3, 4):
        scheduling.set_weight("chat", weight, by=BY)
    assert not selectors.callers(before).by_digest


def test_after_a_restore_of_an_older_database_everything_is_read_again() -> None:
    issue("one")
    ahead = CallerTable(revision=10**6)
    assert len(selectors.callers(ahead).by_digest) == 1


def test_an_admins_api_token_is_never_a_caller_and_a_tenants_never_an_admin() -> None:
    admin, tenant = issue_admin(), issue()
    assert list(selectors.callers().by_digest) == [tokens.digest(tenant.secret)]
    assert selectors.admin_caller(tenant.secret) is None
    found = selectors.admin_caller(admin.secret)
    assert found is not None
    assert (found.admin, found.scopes) == ("ada", {"tenants:write"})


@pytest.mark.parametrize("ended", ["revoked", "expired", "admin left", "wrong"])
def test_an_admins_api_token_ends(ended) -> None:
    issued = issue_admin(expires_at=timezone.now() + timedelta(hours=1))
    if ended == "revoked":
        services.revoke_token(issued.token.pk, by=BY)
    elif ended == "expired":
        ApiToken.objects.update(expires_at=timezone.now())
    elif ended == "admin left":
        get_user_model().objects.update(is_active=False)
    secret = tokens.generate(tokens.ADMIN) if ended == "wrong" else issued.secret
    assert selectors.admin_caller(secret) is None


def test_no_secret_is_kept_anywhere() -> None:
    issued = [issue(), issue_admin()]
    services.revoke_token(issued[0].token.pk, by=BY)
    kept = str(list(Change.objects.values())) + str(list(ApiToken.objects.values()))
    for each in issued:
        assert each.secret.split("_")[1] not in kept
        assert each.secret not in repr(each)


@pytest.mark.parametrize(
    ("settings", "field", "says"),
    [
        pytest.param({"secret": "hunter2"}, "secret", "token new", id="no API token"),
        pytest.param({"secret": tokens.generate("fla_")}, "secret", "fl_", id="an admin's"),
        pytest.param({"scopes": ["tenants:read"]}, "scopes", "inference", id="scope"),
        pytest.param({"class_ceiling": "vip"}, "class_ceiling", "interactive", id="class"),
        pytest.param({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "expires_at", "past", id="past"),
        pytest.param({"expires_at": datetime(2099, 1, 1)}, "expires_at", "time zone", id="naive"),  # noqa: DTZ001
        pytest.param({"name": ""}, "name", "blank", id="no name"),
        pytest.param({"quotas": {"in_flight": 0}}, "quotas", "revoke the API token", id="no seats"),
    ],
)
def test_bad_input_is_refused_by_field(settings, field, says) -> None:
    revision = rules.revision()
    with pytest.raises(ValidationError) as refused:
        issue(**settings)
    assert says in " ".join(refused.value.message_dict[field])
    assert rules.revision() == revision


def test_a_name_is_taken_while_its_api_token_is_in_force() -> None:
    issue()
    with pytest.raises(ValidationError, match="revoke that first"):
        issue()


def test_a_secret_is_used_for_one_api_token_only() -> None:
    secret = issue().secret
    with pytest.raises(ValidationError, match="already"):
        issue("other", secret=secret)


def test_an_admin_needs_scopes_that_exist() -> None:
    for scopes in ([], ["tenants:delete"]):
        with pytest.raises(ValidationError):
            issue_admin(scopes=scopes)
    with pytest.raises(scheduling.Missing, match="admin create bob"):
        issue_admin(admin="bob")


def test_the_last_use_only_moves_forward() -> None:
    token = issue().token
    now = timezone.now()
    services.note_last_use({token.pk: now})
    services.note_last_use({token.pk: now - timedelta(hours=1), 0: now})
    services.note_last_use({})
    token.refresh_from_db()
    assert token.last_used_at == now


@pytest.fixture
def day():
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    save(
        used("a", "chat", "llama", noon),
        used("b", "chat", "llama", noon + timedelta(minutes=70), outcome="upstream_5xx"),
        used("c", "chat", "qwen", noon),
        used("d", "research", "llama", noon),
        used("e", "research", "llama", noon + timedelta(days=2)),
    )
    return selectors.Span(noon, noon + timedelta(days=1))


def test_usage_is_summed_by_tenant_and_model(day) -> None:
    rows = selectors.usage(day)
    assert [(row.tenant, row.model, row.requests, row.ok_requests) for row in rows] == [
        ("chat", "llama", 2, 1),
        ("chat", "qwen", 1, 1),
        ("research", "llama", 1, 1),
    ]
    assert (rows[0].prompt_tokens, rows[0].completion_tokens, rows[0].cost) == (20, 10, 40)


def test_usage_is_summed_by_time_and_over_all(day) -> None:
    hours = selectors.usage(day, by=(), bucket="hour")
    assert [(row.at.hour, row.requests) for row in hours] == [(12, 3), (13, 1)]
    (total,) = selectors.usage(day, by=())
    assert (total.requests, total.cost) == (4, 80)
    nobody = selectors.Span(day.since, day.until, tenant="nobody")
    assert selectors.usage(nobody, by=())[0].cost == 0


def test_records_are_found_by_tenant_model_and_outcome(day) -> None:
    chat = selectors.Span(day.since, day.until, tenant="chat", model="llama")
    assert [row.request_id for row in selectors.records(chat)] == ["b", "a"]
    assert [row.request_id for row in selectors.records(chat, "ok")] == ["a"]
