"""Names of a prompt's beginnings: the same for the same text of the same tenant and model, and only then."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

from gateway.callers import Caller
from gateway.endpoints import ENDPOINTS
from gateway.jobs import Parser
from gateway.prefixes import BEGINNINGS_BYTES, prefixes
from scheduling.core.policy import PoolRule
from scheduling.core.prediction import Estimates
from tests.fakes.gateway import MODEL, POOL, Cast

CHAT, COMPLETIONS, EMBEDDINGS = (
    ENDPOINTS[f"/v1/{name}"] for name in ("chat/completions", "completions", "embeddings")
)
PARSER = Parser(b"salt", Estimates(), 600)
SYSTEM = {"role": "system", "content": "You are terse. " * 100}


def names(messages, slack=2, endpoint=CHAT, tenant="research", model=MODEL):
    policy = Cast.of(tenant).policy()
    policy = replace(policy, pools={POOL: PoolRule(POOL, prefix_slack_requests=slack)}, models={model: POOL})
    body = json.dumps({"model": model, endpoint.prompt: messages}).encode()
    return PARSER.parse(endpoint, {}, body, Caller(7, tenant, "ci"), policy).prefixes


def turn(text):
    return {"role": "user", "content": text}


def test_the_turns_of_a_conversation_share_their_beginnings_as_it_grows():
    talk = [SYSTEM]
    seen = []
    for number in range(6):
        talk.append(turn(f"{number} " * 1500))
        seen.append(names(talk))
    assert [len(found) for found in seen] == [2, 2, 2, 2, 3, 3]
    assert all(later[: len(former)] == former for former, later in pairwise(seen))


def test_conversations_share_the_beginning_they_have_in_common_and_no_more():
    ours, theirs = names([SYSTEM, turn("a" * 9000)]), names([SYSTEM, turn("b" * 9000)])
    assert ours[0] == theirs[0]
    assert ours[1] != theirs[1]


def test_another_tenant_or_model_gives_the_same_text_another_name():
    talk = [SYSTEM, turn("hello")]
    found = [names(talk), names(talk, tenant="chat"), names(talk, model="other-8b")]
    assert len({name for each in found for name in each}) == 3


def test_a_short_prompt_has_no_beginning_worth_a_name():
    assert names([turn("hello")]) == ()


def test_a_pool_without_affinity_pays_for_no_hash(monkeypatch):
    monkeypatch.setattr("gateway.jobs.prefixes", None)
    assert names([SYSTEM], slack=None) == ()


def test_embeddings_have_no_conversation():
    assert names("word " * 1000, endpoint=EMBEDDINGS) == ()
    assert names("word " * 1000, endpoint=COMPLETIONS) != ()


def test_a_beginning_is_exactly_as_long_as_it_says():
    text = bytes(range(256)) * 64
    for number, size in enumerate(BEGINNINGS_BYTES):
        assert len(prefixes(b"s", "t", "m", text[:size])) == number + 1
        assert len(prefixes(b"s", "t", "m", text[: size - 1])) == number
    assert all(0 <= name < 2**64 for name in prefixes(b"s", "t", "m", text))
