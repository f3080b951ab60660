"""Aliases: whose requests go to which model, in what parts, and what is left when models go."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from gateway import catalog
from gateway.callers import Caller
from gateway.endpoints import ENDPOINTS
from gateway.errors import ModelNotFound
from gateway.jobs import Parser
from gateway.model_routes import place_of, resolve
from scheduling.core.policy import ModelRoute, PoolRule, Prices
from scheduling.core.prediction import Estimates
from scheduling.core.usage import CostRule
from tests.fakes.gateway import Cast

CHAT = ENDPOINTS["/v1/chat/completions"]
CALLER = Caller(7, "research", "ci")
MODELS = {"stable": "main", "canary": "main", "spare": "other"}
USERS = 4000


def policy(targets=(("stable", 90), ("canary", 10)), fallbacks=(), models=MODELS, name="chat"):
    return replace(
        Cast.of("research").policy(),
        models=models,
        routes={name: ModelRoute(tuple(targets), tuple(fallbacks))},
        pools={pool: PoolRule(pool) for pool in ("main", "other")},
    )


def parse(rules, parser=None, model="chat", headers=None, **members):
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}], "model": model, **members}).encode()
    parser = parser or Parser(b"salt", Estimates(), queue_timeout_s=600)
    return parser.parse(CHAT, headers or {}, body, CALLER, rules)


def models_of(rules, users):
    return {user: parse(rules, user=user).terms.model for user in users}


def test_a_canary_gets_its_part_of_the_users():
    users = [f"user-{number}" for number in range(USERS)]
    served = list(models_of(policy(), users).values())
    spread = 4 * math.sqrt(USERS * 0.1 * 0.9)  # four standard deviations
    assert abs(served.count("canary") - USERS * 0.1) <= spread
    assert set(served) == {"stable", "canary"}


def test_a_user_stays_with_one_model_however_the_user_is_named():
    users = [f"user-{number}" for number in range(50)]
    rules = policy([("stable", 1), ("canary", 1)])
    again = {
        user: parse(rules, headers={b"x-end-user-id": user.encode()}, max_tokens=3).terms.model
        for user in users
    }
    assert models_of(rules, users) == again
    assert len(set(again.values())) == 2


def test_a_larger_canary_takes_users_and_gives_none_back():
    users = [f"user-{number}" for number in range(500)]
    few, more = (
        models_of(policy([("stable", 100 - part), ("canary", part)]), users).items() for part in (10, 30)
    )
    were = {user for user, model in few if model == "canary"}
    are = {user for user, model in more if model == "canary"}
    assert were < are


def test_the_users_who_try_one_new_model_are_not_those_who_try_the_next():
    ours = [f"user-{number}" for number in range(2000)]
    halves = [{user for user in ours if place_of(alias, user) < 2**63} for alias in ("chat", "code")]
    both = len(halves[0] & halves[1])
    assert abs(both - 500) < 4 * math.sqrt(2000 * 0.25 * 0.75)


@pytest.mark.parametrize("part", [1, 10, 25, 50])
def test_requests_without_a_user_are_spread_evenly_by_the_weights(part):
    rules, parser = policy([("stable", 100 - part), ("canary", part)]), Parser(b"salt", Estimates(), 600)
    served = [parse(rules, parser).terms.model for _ in range(1000)]
    assert abs(served.count("canary") - 10 * part) <= 3


@pytest.mark.parametrize(
    ("place", "model"), [(0, "stable"), (2**63 - 1, "stable"), (2**63, "canary"), (2**64 - 1, "canary")]
)
def test_the_whole_range_of_places_is_given_out(place, model):
    assert resolve(policy([("stable", 2), ("canary", 2)]), "chat", place) == (model, ())


@pytest.mark.parametrize(
    ("targets", "fallbacks", "found"),
    [
        pytest.param(
            [("gone", 9), ("canary", 1)], ["gone", "spare"], ("canary", ("spare",)), id="target gone"
        ),
        pytest.param([("gone", 9)], ["spare", "stable"], ("spare", ("stable",)), id="only fallbacks left"),
        pytest.param([("stable", 0), ("canary", 0)], [], ("stable", ()), id="no weights"),
        pytest.param([("stable", 1)], ["stable", "spare"], ("stable", ("spare",)), id="falls not to itself"),
        pytest.param([("gone", 9)], ["gone"], ("", ()), id="nothing left"),
    ],
)
def test_models_that_are_gone_are_left_out(targets, fallbacks, found):
    assert resolve(policy(targets, fallbacks), "chat", 2**62) == found


def test_a_route_with_nothing_left_names_what_was_asked_for():
    with pytest.raises(ModelNotFound, match="'chat'"):
        parse(policy([("gone", 1)]))


def test_a_served_model_with_fallbacks_serves_itself():
    job = parse(policy((), ["spare"], name="stable"), model="stable")
    assert (job.terms.model, job.terms.asked, job.fallbacks) == ("stable", "stable", ("spare",))


def test_the_engine_is_asked_for_the_model_that_serves_and_all_else_is_as_it_was():
    job = parse(policy([("canary", 1)]), user="alice", seed=7)
    sent = json.loads(job.body)
    assert (job.terms.asked, job.terms.model, job.terms.pool) == ("chat", "canary", "main")
    assert (sent["model"], sent["seed"], sent["user"]) == ("canary", 7, "alice")
    assert job.body.count(b'"model"') == 1


def test_a_fallback_runs_under_the_rules_of_its_own_model_and_pool():
    rules = policy([("stable", 1)], ["spare", "canary"])
    prices, cost = Prices(1, 2, 3), CostRule(5, 7)
    rules = replace(
        rules, prices={"spare": prices}, pools={**rules.pools, "other": PoolRule("other", cost=cost)}
    )
    parser = Parser(b"salt", Estimates(), 600)
    first = parse(rules, parser, user="alice", max_tokens=9, stream=True)
    first.terms.holders = ()  # that no quota bounds the first model says nothing of the others
    job = parser.fall_back(first, rules)
    terms = job.terms
    assert (terms.model, terms.pool, terms.prices, terms.cost) == ("spare", "other", prices, cost)
    assert (terms.revision, terms.holders) == (first.terms.revision, None)
    assert (terms.asked, job.fallbacks, job.user) == ("chat", ("canary",), first.user)
    assert json.loads(job.body) == {**json.loads(first.body), "model": "spare"}
    assert parser.fall_back(job, rules).fallbacks == ()


def test_a_model_without_a_route_is_itself_and_has_no_fallbacks():
    job = parse(policy(), model="spare")
    assert (job.terms.model, job.terms.asked, job.fallbacks) == ("spare", "spare", ())


def test_aliases_are_listed_with_the_models():
    rules = policy()
    listed = [one["id"] for one in json.loads(catalog.models(rules, CALLER))["data"]]
    assert listed == ["canary", "chat", "spare", "stable"]
    assert json.loads(catalog.model(rules, CALLER, "chat"))["id"] == "chat"
    with pytest.raises(ModelNotFound):
        catalog.model(rules, CALLER, "gone")
