"""Aliases, canaries and fallbacks, as clients and engines see them."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import httpx2 as httpx
import pytest

from scheduling.core.policy import BackendRule, ModelRoute, PoolRule, Prices, TenantRule
from scheduling.core.usage import CostRule
from tests.fakes.engine import running_engine
from tests.fakes.faulty import CHUNKED_HEAD, answer, chunk, faulty_engine, says
from tests.fakes.faulty_gateway import BODY as ANY_BODY
from tests.fakes.faulty_gateway import BUSY, CAST, EVENT, FINISH, GOOD, WHOLE, most_asked, post, read_raw
from tests.fakes.gateway import running_gateway

BIG, SMALL, SPARE = "big-70b", "small-8b", "spare-1b"
BODY = {**ANY_BODY, "model": BIG}
STREAM = {**BODY, "stream": True}
DEAD = says(then="close")
TOLD = "x-fairlane-model"
PRICES = {BIG: Prices(9_000_000, 0, 9_000_000), SMALL: Prices(1_000_000, 0, 1_000_000)}


def rules(*models, fallbacks=(), targets=(), name=BIG, **changes):
    """One pool with one backend for each model; the first has the fallbacks, unless a name is given."""
    pools = {f"pool-{number}": model for number, model in enumerate(models)}
    return replace(
        CAST.policy(),
        pools={pool: PoolRule(pool) for pool in pools},
        models={model: pool for pool, model in pools.items()},
        backends={
            f"gpu-{number}": BackendRule(f"gpu-{number}", pool, frozenset({model}), max_in_flight=8)
            for number, (pool, model) in enumerate(pools.items())
        },
        routes={name: ModelRoute(tuple(targets) or ((BIG, 1),), tuple(fallbacks))},
        prices=PRICES,
        **changes,
    )


@asynccontextmanager
async def gateway(policy, *scripts):
    """A gateway before one engine for each script."""
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(faulty_engine(script)) for script in scripts]
        urls = {f"gpu-{n}": f"http://127.0.0.1:{engine.port}" for n, engine in enumerate(engines)}
        yield await stack.enter_async_context(running_gateway(policy, CAST.callers(), urls)), engines


def models_asked(engine):
    return [json.loads(asked.body)["model"] for asked in engine.asked]


async def test_an_alias_leads_to_its_model_and_the_answer_says_so():
    policy = rules(BIG, name="chat", targets=[(BIG, 1)])
    async with gateway(policy, says(WHOLE)) as (served, (engine,)):
        aliased = await post(served, {**BODY, "model": "chat"})
        plain = await post(served, BODY)
        unknown = await post(served, {**BODY, "model": "chat-2"})
        records = await served.settled(2)
    assert (aliased.status_code, aliased.headers[TOLD]) == (200, BIG)
    assert TOLD not in plain.headers
    assert models_asked(engine) == [BIG, BIG]
    assert [record.model for record in records] == [BIG, BIG]
    assert unknown.json()["error"]["code"] == "model_not_found"


async def test_a_canary_behind_two_simulated_engines_gets_its_users_and_keeps_them():
    policy = rules(BIG, SMALL, name="chat", targets=[(BIG, 3), (SMALL, 1)])
    async with (
        running_engine(model=BIG, time_scale=1000) as big,
        running_engine(model=SMALL, time_scale=1000) as small,
        running_gateway(policy, CAST.callers(), {"gpu-0": big.url, "gpu-1": small.url}) as served,
    ):
        auth = {"authorization": f"Bearer {CAST.secrets['research']}"}
        async with httpx.AsyncClient(base_url=served.url, headers=auth, timeout=20) as client:

            async def ask(user):
                body = {**BODY, "model": "chat", "max_tokens": 1, "user": user}
                return (await client.post("/v1/chat/completions", json=body)).json()["model"]

            users = [f"user-{number}" for number in range(80)]
            first, again = [await asyncio.gather(*map(ask, users)) for _ in range(2)]
    assert first == again
    assert 20 - 16 < first.count(SMALL) < 20 + 16  # four standard deviations
    assert first.count(BIG) + first.count(SMALL) == 80


@pytest.mark.parametrize(("body", "good"), [(BODY, WHOLE), (STREAM, GOOD)], ids=["whole", "stream"])
async def test_a_request_whose_model_has_no_living_backend_goes_on_with_the_fallback(body, good):
    policy = rules(BIG, SMALL, fallbacks=[SMALL])
    async with gateway(policy, DEAD, says(good)) as (served, (_, small)):
        answer_ = await post(served, body)
        records = await served.settled(1)
        await asyncio.sleep(0)
    assert (answer_.status_code, answer_.headers[TOLD]) == (200, SMALL)
    assert models_asked(small) == [SMALL]
    assert len(records) == 1
    record = records[0]
    assert (record.outcome, record.model, record.pool, record.backend) == ("ok", SMALL, "pool-1", "gpu-1")
    assert record.attempt == 3
    if body is BODY:  # the engine counted 3 prompt and 2 completion tokens, at the fallback's price
        assert (record.prompt_tokens, record.spend) == (3, 5)


async def test_a_drained_model_is_not_even_asked_for():
    policy = rules(BIG, SMALL, fallbacks=[SMALL])
    drained = replace(policy.backends["gpu-0"], draining=True)
    policy = replace(policy, backends={**policy.backends, "gpu-0": drained})
    async with gateway(policy, says(WHOLE), says(WHOLE)) as (served, (big, _)):
        answer_ = await post(served, BODY)
        records = await served.settled(1)
    assert (answer_.status_code, answer_.headers[TOLD]) == (200, SMALL)
    assert big.connections == 0
    assert (records[0].attempt, records[0].model) == (1, SMALL)


async def test_a_model_whose_backend_is_left_alone_is_not_asked_again_by_every_request():
    policy = rules(BIG, SMALL, fallbacks=[SMALL])
    async with gateway(policy, DEAD, says(WHOLE)) as (served, (big, small)):
        began_s = time.monotonic()
        answers = [await post(served, BODY) for _ in range(12)]
        took_s = time.monotonic() - began_s
        records = await served.settled(12)
    assert {each.headers[TOLD] for each in answers} == {SMALL}
    assert len(small.asked) == 12
    assert 3 <= big.connections <= most_asked(took_s)
    assert [record.attempt for record in records].count(1) >= 12 - big.connections
    assert max(record.dispatched_at - record.accepted_at for record in records) < 1, (
        "none waits for the tries"
    )


async def test_fallbacks_are_tried_in_their_order_and_no_more_often_than_listed():
    policy = rules(BIG, SMALL, SPARE, fallbacks=[SMALL, SPARE])
    async with gateway(policy, DEAD, DEAD, DEAD) as (served, engines):
        answer_ = await post(served, BODY)
        records = await served.settled(1)
    assert (answer_.status_code, answer_.json()["error"]["code"]) == (502, "upstream_reset")
    assert [set(models_asked(engine)) for engine in engines] == [{BIG}, {SMALL}, {SPARE}]
    assert all(len(engine.asked) <= 2 for engine in engines)
    assert [(record.outcome, record.model, record.cost) for record in records] == [
        ("upstream_reset", SPARE, 0)
    ]


async def test_when_no_model_of_the_list_serves_the_request_waits_for_the_one_it_asked_for():
    policy = rules(BIG, SMALL, fallbacks=[SMALL])
    drained = {name: replace(rule, draining=True) for name, rule in policy.backends.items()}
    async with gateway(replace(policy, backends=drained), says(WHOLE), says(WHOLE)) as (served, _):
        waiting = asyncio.create_task(post(served, BODY))
        async with asyncio.timeout(5):
            while not any(view.queued for view in served.dispatcher.view()):
                await asyncio.sleep(0.005)
        served.gateway.set_policy(replace(policy, revision=2))
        answer_ = await waiting
    assert answer_.status_code == 200
    assert TOLD not in answer_.headers


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_stream_never_falls_back_after_its_first_byte(end):
    policy = rules(BIG, SMALL, fallbacks=[SMALL])
    begun = says(CHUNKED_HEAD + chunk(EVENT), then=end)
    async with gateway(policy, begun, says(GOOD)) as (served, (_, small)):
        data = await read_raw(served, STREAM)
        records = await served.settled(1)
    assert EVENT in data
    assert FINISH not in data
    assert small.connections == 0
    assert (records[0].outcome, records[0].model) == ("upstream_reset", BIG)


async def test_a_request_that_is_wrong_is_wrong_for_every_model():
    policy = rules(BIG, SMALL, fallbacks=[SMALL])
    wrong = answer(b'{"error":{"message":"too long"}}', "400 Bad Request")
    async with gateway(policy, says(wrong), says(WHOLE)) as (served, (_, small)):
        refused = await post(served, BODY)
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "too long")
    assert small.connections == 0


async def test_a_busy_model_is_waited_for_and_not_replaced():
    policy = rules(BIG, SMALL, fallbacks=[SMALL])
    once = iter([BUSY])

    async def busy_once(peer):
        while True:
            await peer.request()
            await peer.send(next(once, WHOLE))

    async with gateway(policy, busy_once, says(WHOLE)) as (served, (_, small)):
        answer_ = await post(served, BODY)
    assert answer_.status_code == 200
    assert small.connections == 0


@pytest.mark.parametrize("kind", ["requests_per_minute", "tokens_per_day"])
async def test_a_fallback_takes_its_own_quota_and_gives_back_that_of_the_first(kind):
    most = 1 if kind == "requests_per_minute" else 100
    limits = {BIG: {kind: most}, SMALL: {kind: most}}
    refusing = {model: frozenset({kind}) for model in limits}
    tenant = TenantRule("research", model_quotas=limits, refusing=refusing)
    policy = rules(BIG, SMALL, fallbacks=[SMALL], tenants={"research": tenant})
    broken = iter([True, True])

    async def heals(peer):
        while True:
            await peer.request()
            if next(broken, False):
                return
            await peer.send(WHOLE)

    long = {**BODY, "max_tokens": 60}
    async with gateway(policy, heals, says(WHOLE)) as (served, _):
        fell = await post(served, long)
        kept = await post(served, long)
        records = await served.settled(2)
    assert fell.headers[TOLD] == SMALL
    assert kept.status_code == 200, (
        "what the first model had reserved for the request that fell is free again"
    )
    assert TOLD not in kept.headers
    assert [record.model for record in records] == [SMALL, BIG]


async def test_a_fallback_beyond_its_quota_is_no_fallback():
    tenant = TenantRule(
        "research",
        model_quotas={SMALL: {"requests_per_minute": 1}},
        refusing={SMALL: frozenset({"requests_per_minute"})},
    )
    policy = rules(BIG, SMALL, fallbacks=[SMALL], tenants={"research": tenant})
    async with gateway(policy, DEAD, says(WHOLE)) as (served, _):
        await post(served, {**BODY, "model": SMALL})
        refused = await post(served, BODY)
        records = await served.settled(2)
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "upstream_reset")
    assert [record.outcome for record in records] == ["ok", "upstream_reset"]


async def test_a_fallback_is_charged_by_the_rule_of_its_own_pool():
    policy = rules(BIG, SMALL, fallbacks=[SMALL])
    pools = {**policy.pools, "pool-1": PoolRule("pool-1", cost=CostRule(10, 100))}
    async with gateway(replace(policy, pools=pools), DEAD, says(WHOLE)) as (served, _):
        await post(served, BODY)
        records = await served.settled(1)
    assert records[0].cost == 10 * 3 + 100 * 2
