"""What is written down of a request when it is accepted, member by member."""

from __future__ import annotations

import json
from dataclasses import replace

from gateway.callers import Caller
from gateway.endpoints import ENDPOINTS
from gateway.jobs import Parser
from gateway.new_record import new_call, new_record
from scheduling.core.policy import Prices
from scheduling.core.prediction import Estimates
from tests.fakes.gateway import MODEL, POOL, Cast
from tests.unit.scheduling.machines import ticket

CALLER = Caller(7, "research", "ci")
BODY = {"model": MODEL, "messages": [{}], "max_tokens": 10, "stream": True, "service_tier": "flex"}


TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def read(prices=None, headers=None, **members):
    policy = replace(Cast.of("research").policy(revision=5), prices={MODEL: prices} if prices else {})
    body = json.dumps({**BODY, **members}).encode()
    return Parser(b"salt", Estimates(), 600).parse(
        ENDPOINTS["/v1/chat/completions"], headers or {}, body, CALLER, policy
    )


def test_a_record_says_who_asked_for_what_under_which_rules():
    job = read(user="alice")
    record = new_record(ticket("r-1", "research", prompt_tokens=40, completion_tokens=10), job, "theirs")

    assert (record.request_id, record.client_request_id) == ("r-1", "theirs")
    assert (record.tenant, record.user_hash, record.api_token_id) == ("research", job.user, 7)
    assert (record.model, record.pool, record.priority_class) == (MODEL, POOL, "batch")
    assert (record.endpoint, record.stream, record.policy_revision) == ("/v1/chat/completions", True, 5)
    assert (record.accepted_at > 0, record.queued_at) == (True, None)
    assert (record.estimated_tokens, record.spend) == (60, 0)
    assert (record.dispatched_at, record.backend, record.outcome) == (None, "", "")


def test_a_record_holds_the_spend_of_a_model_that_has_a_price_and_no_users_name_where_there_is_none():
    job = read(Prices(prompt=2_000_000, completion=3_000_000))
    record = new_record(ticket("r-1", prompt_tokens=40, completion_tokens=10), job, "")

    assert (record.spend, record.user_hash) == (110, "")


def test_a_record_has_the_id_of_the_clients_trace_and_of_none_that_is_malformed():
    traced = new_record(ticket("r-1"), read(headers={b"traceparent": TRACE}), "")
    malformed = new_record(ticket("r-2"), read(headers={b"traceparent": TRACE[:-3]}), "")

    assert traced.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert (malformed.trace_id, new_record(ticket("r-3"), read(), "").trace_id) == ("", "")


def test_an_engine_is_asked_what_the_job_says():
    job = read()
    call = new_call(job, "r-1")

    assert (call.request_id, call.path, call.body) == ("r-1", "/v1/chat/completions", (job.body,))
    assert (call.stream, call.strip_usage, call.headers, call.measures_tokens) == (True, True, (), True)
