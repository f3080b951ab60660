"""What the parser remembers between requests, and the short way of one that asks for nothing seldom."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import jobs
from gateway.callers import Caller
from gateway.ceilings import LENGTHS
from gateway.endpoints import ENDPOINTS
from gateway.errors import ModelNotAllowed, ModelNotFound, Refused
from gateway.jobs import Parser
from scheduling.core.policy import PoolRule, Prices
from scheduling.core.prediction import Estimates
from scheduling.core.usage import CostRule
from tests.fakes.gateway import MODEL, Cast

POLICY = Cast.of("research").policy()
CALLER = Caller(7, "research", "ci")
CHAT = ENDPOINTS["/v1/chat/completions"]
HELLO = [{"role": "user", "content": "hello"}]
BODY = json.dumps({"model": MODEL, "messages": HELLO}).encode()


def parser():
    return Parser(b"salt", Estimates(), queue_timeout_s=600)


@given(
    path=st.sampled_from(sorted(path for path, each in ENDPOINTS.items() if not each.form)),
    headers=st.sampled_from(({}, {b"x-stainless-read-timeout": b"5", b"accept": b"*/*"})),
    members=st.dictionaries(
        st.sampled_from(("model", "messages", "prompt", "input", "stream", *LENGTHS, "n", "tools", "x")),
        st.sampled_from(
            (MODEL, HELLO, "once", [1, 2], [[1], [2]], True, False, None, 7, 0, 10**7, 10**30, 1.5, [], {})
        ),
    ),
    length=st.sampled_from(({}, {"max_tokens": 9}, {"max_completion_tokens": 9})),
)
def test_the_short_way_reads_what_the_long_way_reads(path, headers, members, length):
    body = {"model": MODEL, "messages": HELLO, "prompt": "once", "input": "once"} | length | members

    short = outcome(body, headers, ENDPOINTS[path])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "SELDOM", frozenset(body))
        assert outcome(body, headers, ENDPOINTS[path]) == short


def outcome(body, headers, endpoint):
    try:
        return parser().parse(endpoint, headers, json.dumps(body).encode(), CALLER, POLICY)
    except Refused as refused:
        return refused.code, str(refused), refused.param


def test_what_is_remembered_of_a_caller_ends_with_its_policy():
    known = parser()
    before = known.parse(CHAT, {}, BODY, CALLER, POLICY)
    tenants = {"research": replace(POLICY.tenants["research"], priority_class="batch")}
    cost, prices = CostRule(5, 7), Prices(1, 2, 3)
    changed = replace(
        POLICY,
        revision=2,
        tenants=MappingProxyType(tenants),
        models={MODEL: "other"},
        pools={"other": PoolRule("other", cost=cost)},
        prices={MODEL: prices},
    )

    after = known.parse(CHAT, {}, BODY, CALLER, changed)

    assert (before.terms.pool, before.priority_class, before.terms.revision) == ("main", "standard", 1)
    assert (after.terms.pool, after.priority_class, after.terms.revision) == ("other", "batch", 2)
    assert (after.terms.cost, after.terms.prices) == (cost, prices)
    with pytest.raises(ModelNotFound):
        known.parse(CHAT, {}, BODY, CALLER, replace(changed, models={}))


def test_what_an_admin_changes_of_an_api_token_holds_from_the_next_request_on():
    known = parser()
    assert known.parse(CHAT, {}, BODY, CALLER, POLICY).priority_class == "standard"

    capped = replace(CALLER, class_ceiling="batch")
    assert known.parse(CHAT, {}, BODY, capped, POLICY).priority_class == "batch"
    with pytest.raises(ModelNotAllowed):
        known.parse(CHAT, {}, BODY, replace(CALLER, models=frozenset({"another"})), POLICY)


@pytest.mark.parametrize("hold_s", [None, 0.0, 2.5, inf])
def test_a_status_line_is_held_back_as_the_token_says_unless_the_request_says_another(hold_s):
    known, caller = parser(), replace(CALLER, hold_s=hold_s)
    for headers in ({}, {b"x-request-timeout": b"5"}, {b"x-end-user-id": b"ann"}):
        assert known.parse(CHAT, headers, BODY, caller, POLICY).hold_s == hold_s
    assert known.parse(CHAT, {b"x-hold-ms": b"700"}, BODY, caller, POLICY).hold_s == 0.7


def test_callers_are_remembered_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(jobs, "MAX_TERMS", 2)
    known = parser()

    callers = [Caller(n, "research", "ci") for n in range(5)]
    users = [known.parse(CHAT, {}, BODY, caller, POLICY).terms.user for caller in callers]

    assert users == [f"token-{n}" for n in range(5)]
    assert len(known._terms) <= 2
