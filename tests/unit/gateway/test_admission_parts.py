"""Who may come in, in which class, with what headers, and how a refusal looks."""

from __future__ import annotations

import inspect
import json
import time
from dataclasses import replace

import pytest

from config import knobs
from gateway import engine_errors, errors, tokens
from gateway.callers import Caller, CallerTable
from gateway.classes import choose_class
from gateway.doorman import Doorman
from gateway.engine_errors import EngineRefused, engine_failed, outcome_of
from gateway.errors import Forbidden, Invalid, QueueFull, RateLimited, Refused, Suspended, Unauthenticated
from gateway.headers import RequestId, duration, made_at, quota_headers, refusal_headers
from gateway.settings import Settings
from scheduling.core.outcome import Outcome
from scheduling.core.policy import TenantRule
from scheduling.core.prediction import Estimates
from scheduling.core.quota import Left
from tests.fakes.gateway import Cast

CAST = Cast.of("research", "chat")
SECRET = CAST.secrets["research"]


def bearer(secret):
    return {b"authorization": b"Bearer " + secret.encode()}


def doorman(table=None, policy=None, now_s=lambda: 1000.0):
    door = Doorman(now_s)
    door.set_policy(policy or CAST.policy())
    door.set_callers(table or CAST.callers())
    return door


def test_an_api_token_admits_its_tenant():
    assert doorman().admit(bearer(SECRET)).tenant == "research"
    assert doorman().admit({b"authorization": b"bearer " + SECRET.encode()}).tenant == "research"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b""},
        {b"authorization": b"Basic abc"},
        {b"authorization": b"Bearer "},
        {b"authorization": b"Bearer sk-other"},
        {b"authorization": SECRET.encode()},
        {b"authorization": b"Bearer \xff\xfe"},
        bearer(tokens.generate()),
    ],
)
def test_whoever_is_not_known_is_refused(headers):
    with pytest.raises(Unauthenticated):
        doorman().admit(headers)


def test_blanks_around_one_api_token_do_not_fill_the_memory_with_headers():
    door = doorman()
    assert door.admit(bearer(f" {SECRET} ")).tenant == "research"
    with pytest.raises(Unauthenticated):
        door.admit(bearer(" " * 512 + SECRET))


def test_a_mistyped_secret_is_refused_without_a_lookup():
    class Untouchable(dict):
        def get(self, *_):
            raise AssertionError("looked up")

    wrong = SECRET[:-1] + ("a" if SECRET[-1] != "a" else "b")
    with pytest.raises(Unauthenticated):
        doorman(CallerTable(1, Untouchable())).admit(bearer(wrong))


def test_a_revoked_api_token_is_refused_from_the_next_table_on():
    door = doorman()
    door.admit(bearer(SECRET))
    door.set_callers(CallerTable(2))
    with pytest.raises(Unauthenticated):
        door.admit(bearer(SECRET))


def test_an_api_token_expires_though_it_was_admitted_before():
    now = [1000.0]
    door = doorman(CAST.callers(expires_at_s=1500.0), now_s=lambda: now[0])
    door.admit(bearer(SECRET))
    now[0] = 1500.0
    with pytest.raises(Unauthenticated, match="expired"):
        door.admit(bearer(SECRET))


def test_an_admins_api_token_is_not_for_inference():
    with pytest.raises(Forbidden):
        doorman(CAST.callers(scopes=frozenset({"tenants:write"}))).admit(bearer(SECRET))


def test_a_suspended_tenant_is_told_so_at_once():
    door = doorman()
    door.admit(bearer(SECRET))
    policy = CAST.policy()
    door.set_policy(replace(policy, tenants={"research": TenantRule("research", suspended=True)}))
    with pytest.raises(Suspended):
        door.admit(bearer(SECRET))


def test_a_tenant_that_the_policy_does_not_know_is_refused():
    door = doorman()
    door.set_policy(replace(CAST.policy(), tenants={}))
    with pytest.raises(Forbidden):
        door.admit(bearer(SECRET))


@pytest.mark.parametrize(
    ("tier", "header", "ceiling", "expected"),
    [
        pytest.param(None, None, "", "standard", id="the tenant's own"),
        pytest.param("auto", None, "", "standard", id="auto is the tenant's own"),
        pytest.param("flex", None, "", "batch", id="flex is batch"),
        pytest.param("priority", None, "", "interactive", id="priority is interactive"),
        pytest.param("priority", None, "standard", "standard", id="no better than the ceiling"),
        pytest.param("flex", None, "standard", "batch", id="worse than the ceiling is allowed"),
        pytest.param("flex", "interactive", "", "interactive", id="the header wins"),
        pytest.param("from-the-future", None, "", "standard", id="unknown tiers are the tenant's own"),
        pytest.param(None, None, "batch", "batch", id="the tenant's own obeys the ceiling too"),
    ],
)
def test_a_request_runs_in_the_class_it_asks_for_up_to_its_ceiling(tier, header, ceiling, expected):
    headers = {b"x-priority-class": header.encode()} if header else {}
    caller = Caller(1, "research", "ci", class_ceiling=ceiling)
    assert choose_class(tier, headers, caller, CAST.policy()) == expected


def test_an_unknown_class_is_refused_with_the_known_ones():
    with pytest.raises(Invalid, match="interactive, standard, batch") as refused:
        choose_class(None, {b"x-priority-class": b"vip"}, Caller(1, "a", "b"), CAST.policy())
    assert refused.value.param == "x-priority-class"


def refusals():
    found = [value for module in (errors, engine_errors) for _, value in inspect.getmembers(module)]
    return sorted(
        {value for value in found if inspect.isclass(value) and issubclass(value, Refused)},
        key=lambda value: value.__name__,
    )


@pytest.mark.parametrize("kind", refusals(), ids=lambda kind: kind.__name__)
def test_every_refusal_says_all_that_openai_clients_read(kind):
    if kind is EngineRefused:
        refused = kind(400, b"not json")
    elif issubclass(kind, engine_errors.EngineFailed):
        refused = kind(Outcome.UPSTREAM_RESET)
    else:
        refused = kind()
    error = json.loads(refused.body())["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert 400 <= refused.status < 600
    assert outcome_of(refused) in Outcome
    headers = dict(refusal_headers(refused, RequestId.of({})))
    if refused.retry_after_ms is None:
        assert headers[b"x-should-retry"] == b"false"
        assert b"retry-after" not in headers
    else:
        assert headers[b"x-should-retry"] == b"true"
        assert 1 <= int(headers[b"retry-after"]) <= 75
        assert int(headers[b"retry-after"]) * 1000 >= int(headers[b"retry-after-ms"]) > 0


def test_no_one_is_told_to_wait_longer_than_a_minute():
    assert RateLimited(retry_after_ms=86_400_000).retry_after_ms == 60_000


def test_retries_are_spread():
    waits = {dict(refusal_headers(QueueFull(), RequestId.of({})))[b"retry-after-ms"] for _ in range(20)}
    assert len(waits) > 1


@pytest.mark.parametrize(
    ("said", "message"),
    [
        pytest.param({"error": {"message": "too long", "code": 400}}, "too long", id="vLLM, llama.cpp"),
        pytest.param({"object": "error", "message": "too long", "code": 400}, "too long", id="older vLLM"),
        pytest.param({"error": "too long", "error_type": "validation"}, "too long", id="TGI"),
        pytest.param({"detail": "Not Found"}, "Not Found", id="a path that the engine does not serve"),
        pytest.param({"detail": [{"msg": "x"}]}, "The engine refused the request.", id="FastAPI's own"),
        pytest.param({"error": {"message": None}}, "The engine refused the request.", id="no message"),
    ],
)
def test_what_the_engine_said_of_a_bad_request_reaches_the_client_with_all_four_keys(said, message):
    refused = EngineRefused(422, json.dumps(said, indent=1).encode())
    body = json.loads(refused.body())
    assert b"\n" not in refused.body()
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert (body["error"]["message"], str(refused)) == (message, message)
    assert body["error"]["code"] == (400 if "400" in str(said) else "upstream_4xx")
    assert (refused.status, refused.retry_after_ms) == (422, None)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.CONNECT_FAIL, 502),
        (Outcome.UPSTREAM_RESET, 502),
        (Outcome.UPSTREAM_TIMEOUT_TTFT, 504),
        (Outcome.UPSTREAM_STALL, 504),
    ],
)
def test_an_engines_silence_is_a_504_and_its_failure_a_502(outcome, status):
    refused = engine_failed(outcome)
    assert refused.status == status
    assert json.loads(refused.body())["error"]["code"] == outcome


def test_a_clients_request_id_is_shown_back_and_never_used_as_the_key():
    first, second = (RequestId.of({b"x-request-id": b"trace-1"}) for _ in range(2))
    assert first.shown == second.shown == b"trace-1"
    assert first.clients == second.clients == "trace-1"
    assert "trace-1" not in first.own
    assert first.own != second.own
    assert time.time() - 60 < made_at(first.own) <= time.time()


@pytest.mark.parametrize("name", ["", "trace-1", "req_", "req_4353fb77dcbcfcd46ff6a80a", "req_" + "x" * 27])
def test_only_our_own_ids_say_when_they_were_made(name):
    assert made_at(name) is None


@pytest.mark.parametrize("value", [b"", b"a b", b"x" * 129, b"a\nb", "é".encode(), b"<script>"])
def test_an_unfit_request_id_is_replaced(value):
    made = RequestId.of({b"x-request-id": value})
    assert made.shown == made.own.encode()
    assert made.clients == ""


@pytest.mark.parametrize(
    ("span_ms", "text"), [(12, b"12ms"), (1500, b"1.5s"), (59_000, b"59s"), (360_000, b"6m0s")]
)
def test_durations_are_in_openais_style(span_ms, text):
    assert duration(span_ms) == text


def test_only_a_tenant_with_a_quota_hears_of_it():
    assert quota_headers({}) == []
    headers = quota_headers(
        {"requests_per_minute": Left(60, 59, 1000), "tokens_per_minute": Left(500, 7, 90_000)}
    )
    assert dict(headers) == {
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"59",
        b"x-ratelimit-reset-requests": b"1s",
        b"x-ratelimit-limit-tokens": b"500",
        b"x-ratelimit-remaining-tokens": b"7",
        b"x-ratelimit-reset-tokens": b"1m30s",
        b"ratelimit-policy": b'"requests";q=60;w=60, "tokens";q=500;w=60',
        b"ratelimit": b'"requests";r=59;t=1, "tokens";r=7;t=90',
    }


def test_estimates_follow_a_tenants_latest_answers():
    estimates = Estimates()
    assert estimates.completion_tokens("a", "m", "p") == 256
    for _ in range(20):
        estimates.learn("a", "m", "p", 40)
    assert estimates.completion_tokens("a", "m", "p") == 40
    assert estimates.completion_tokens("b", "m", "p") == 40, "a newcomer starts from its pool's median"
    for _ in range(32):
        estimates.learn("a", "m", "p", 1000)
    assert estimates.completion_tokens("a", "m", "p") > 850


def test_settings_are_read_from_the_knobs_of_the_same_name():
    assert Settings.from_knobs(knobs.read_all({})) == Settings()
