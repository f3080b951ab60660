"""A client's own deadline: how it is said, and what is not sent to an engine because of it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from gateway.callers import Caller
from gateway.endpoints import ENDPOINTS
from gateway.errors import Invalid, QueueTimeout
from gateway.first_tokens import LATELY_S, FirstTokens
from gateway.jobs import Parser
from gateway.records import Record
from scheduling.core.prediction import Estimates
from tests.fakes.gateway import MODEL, Cast
from tests.unit.scheduling.machines import ticket


def job(body=(), **headers):
    whole = {"model": MODEL, "messages": [{}], **dict(body)}
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    parser = Parser(b"", Estimates(), 60)
    path = ENDPOINTS["/v1/chat/completions"]
    policy = Cast.of("research").policy()
    return parser.parse(path, named, json.dumps(whole).encode(), Caller(7, "research", "ci"), policy)


@pytest.mark.parametrize(("said", "patience_ms", "wait_ms"), [
    ({}, None, 60_000),
    ({"x_request_timeout": "2.5"}, 2500, 2500),
    ({"x_stainless_read_timeout": "600"}, 599_500, 60_000),
    ({"x_stainless_timeout": "3"}, 2850, 2850),
    ({"x_stainless_timeout": "9", "x_stainless_read_timeout": "4", "x_request_timeout": "5"}, 3800, 3800),
    ({"x_request_timeout": "soon"}, None, 60_000),
    ({"x_request_timeout": "0"}, None, 60_000),
    ({"x_request_timeout": "-1"}, None, 60_000),
    ({"x_request_timeout": "inf"}, None, 60_000),
    ({"x_request_timeout": "3e307"}, None, 60_000),
    ({"x_request_timeout": "0.0001"}, 1, 1),
    ({"body": {"timeout_ms": 700}}, 700, 700),
    ({"body": {"timeout_ms": 700}, "x_request_timeout": "0.5"}, 500, 500),
    ({"body": {"timeout_ms": 300}, "x_request_timeout": "0.5"}, 300, 300),
])  # fmt: skip
def test_the_shortest_of_what_a_client_says_is_its_deadline(said, patience_ms, wait_ms):
    found = job(**said)

    assert (found.patience_ms, found.wait_ms) == (patience_ms, wait_ms)
    assert b"timeout_ms" not in found.body, "it is ours; an engine may not know it"


@pytest.mark.parametrize("its_timeout_s", [0.5, 3, 10, 600])
def test_an_sdk_is_told_that_its_time_is_over_before_it_hangs_up_and_tries_again(its_timeout_s):
    before_ms = its_timeout_s * 1000 - job(x_stainless_read_timeout=str(its_timeout_s)).patience_ms

    assert 25 <= before_ms <= 500


@pytest.mark.parametrize("wrong", [0, -5, 1.5, "soon", 10**9])
def test_a_deadline_in_the_body_that_is_none_is_refused_by_name(wrong):
    with pytest.raises(Invalid) as refused:
        job({"timeout_ms": wrong})

    assert refused.value.param == "timeout_ms"


class Times:
    """First tokens of one model as they came, on a clock of their own."""

    def __init__(self):
        self.now_s = 1000.0
        self.lately = []
        self.known = FirstTokens(self.count, lambda: self.now_s)

    def took(self, span_s):
        made = Record("req", 1.0, "chat", "llama", "standard", "/v1/completions", stream=True)
        made.dispatched_at, made.first_token_at = 50.0, 50.0 + span_s
        self.lately.append(made)

    def count(self):
        lately, self.lately = self.lately, []
        self.known.learn(lately)

    def is_sent(self, left_s, patience_ms=5000):
        """Whether a request goes on to its engine whose client waits so much longer."""
        queued_ms = int((self.now_s + left_s) * 1000) - patience_ms
        lease = SimpleNamespace(refund=False)
        try:
            self.known.check(ticket("chat-0", queued_ms=queued_ms), patience_ms, lease)
        except QueueTimeout:
            assert lease.refund, "nothing is charged for it"
            return False
        return not lease.refund


def test_what_cannot_begin_in_time_at_the_models_best_is_not_sent():
    times = Times()
    for span_s in (2.0, 0.5, 3.0):
        times.took(span_s)

    assert times.is_sent(0.6)
    assert not times.is_sent(0.4)


def test_while_nothing_is_known_of_a_model_only_what_is_too_late_is_not_sent():
    assert Times().is_sent(0.01)
    assert not Times().is_sent(-0.01)


def test_the_best_is_forgotten_when_an_engine_has_become_slower():
    times = Times()
    times.took(0.1)
    times.count()
    times.now_s += LATELY_S
    times.took(2.0)
    times.count()
    assert times.is_sent(0.2)

    times.now_s += LATELY_S
    times.took(2.0)
    times.count()
    assert not times.is_sent(0.2)


def test_who_would_be_late_by_what_is_counted_is_sent_when_what_has_just_ended_was_quicker():
    times = Times()
    times.took(2.0)
    times.count()
    times.took(0.1)

    assert times.is_sent(0.2)
    assert not times.is_sent(0.05)


def test_a_client_that_says_nothing_waits_for_as_long_as_it_takes():
    times = Times()
    times.took(9.0)

    times.known.check(ticket("chat-0"), None, SimpleNamespace(refund=False))


def test_a_request_without_a_first_token_teaches_nothing():
    times = Times()
    times.known.learn([Record("req", 1.0, "chat", "llama", "standard", "/v1/completions", stream=True)])

    assert times.known.best_s("llama") == 0
