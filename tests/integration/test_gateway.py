"""The data plane as clients meet it: OpenAI's SDK, real HTTP, a simulated engine."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx2 as httpx
import openai
import pytest

from gateway.settings import Settings
from scheduling.core.outcome import Outcome
from scheduling.core.policy import Policy
from tests.fakes.engine import running_engine
from tests.fakes.gateway import MODEL, Cast, running_gateway

CAST = Cast.of("research", "chat")
HELLO = [{"role": "user", "content": "hello"}]
BODY = {"model": MODEL, "messages": HELLO, "max_tokens": 4}
AUTH = {"authorization": f"Bearer {CAST.secrets['research']}"}
BROTLI = {"content-encoding": "br"}
CHAT = "/v1/chat/completions"


@asynccontextmanager
async def product(policy=None, callers=None, engine=None, **gateway):
    """An engine, a gateway before it, and an HTTP client that knows its API token."""
    async with (
        running_engine(model=MODEL, time_scale=50, **(engine or {})) as sim,
        running_gateway(
            policy or CAST.policy(), callers or CAST.callers(), {"gpu-0": sim.url}, **gateway
        ) as served,
        httpx.AsyncClient(base_url=served.url, headers=AUTH, timeout=10) as client,
    ):
        yield served, client


@asynccontextmanager
async def sdk(url, tenant="research", **options):
    """OpenAI's client."""
    options = {"max_retries": 0, **options}
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=CAST.secrets[tenant], **options) as client:
        yield client


async def test_the_openai_sdk_chats_streams_completes_embeds_and_lists_models():
    async with product() as (served, _), sdk(served.url) as client:
        whole = await client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=4)
        stream = await client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=4, stream=True)
        chunks = [chunk async for chunk in stream]
        counted = await client.chat.completions.create(
            model=MODEL, messages=HELLO, max_tokens=4, stream=True, stream_options={"include_usage": True}
        )
        last = [chunk async for chunk in counted][-1]
        text = await client.completions.create(model=MODEL, prompt="once", max_tokens=3)
        vector = await client.embeddings.create(model=MODEL, input="x")
        models = await client.models.list()
        found = await client.models.retrieve(MODEL)
        records = await served.settled(5)
    assert whole.usage.completion_tokens == 4
    assert whole._request_id
    assert all(chunk.choices for chunk in chunks), "the usage event was not asked for by the client"
    assert (last.choices, last.usage.completion_tokens) == ([], 4)
    assert text.usage.completion_tokens == 3
    assert vector.data[0].embedding
    assert [model.id for model in models.data] == [found.id] == [MODEL]
    assert {(record.outcome, record.status, record.estimated) for record in records} == {("ok", 200, False)}
    assert [record.completion_tokens for record in records] == [4, 4, 4, 3, 0]
    assert all(record.cost >= record.prompt_tokens > 0 for record in records)


async def test_an_answer_tells_its_id_class_policy_and_where_time_went():
    async with product(CAST.policy(quotas={"requests_per_minute": 60}, revision=17)) as (_, client):
        plain = await client.post(CHAT, json=BODY, headers={"x-request-id": "trace-9"})
        stream = await client.post(CHAT, json={**BODY, "stream": True, "service_tier": "flex"})
    assert plain.headers["x-request-id"] == "trace-9"
    assert plain.headers["x-fairlane-request-id"].startswith("req_")
    assert plain.headers["x-scheduler-policy"] == "v17"
    assert plain.headers["x-ratelimit-limit-requests"] == "60"
    assert plain.headers["x-ratelimit-remaining-requests"] == "59"
    assert plain.headers["server-timing"].startswith("queue;dur=")
    assert int(plain.headers["x-queue-ms"]) < 1000
    assert stream.headers["x-priority-class"] == "batch"
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["cache-control"] == "no-cache, no-transform"
    assert stream.headers["x-accel-buffering"] == "no"
    assert "connection" not in stream.headers
    assert stream.text.endswith("data: [DONE]\n\n")


async def test_one_request_id_used_twice_makes_two_records():
    async with product() as (served, client):
        for _ in range(2):
            await client.post(CHAT, json=BODY, headers={"x-request-id": "same"})
        records = await served.settled(2)
    assert len({record.request_id for record in records}) == 2
    assert {record.client_request_id for record in records} == {"same"}


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        pytest.param({"headers": {"authorization": "Bearer nope"}}, 401, "invalid_api_key", id="token"),
        pytest.param({"content": b"{"}, 400, "invalid_json", id="bad JSON"),
        pytest.param({"json": {**BODY, "model": "gpt-7"}}, 404, "model_not_found", id="unknown model"),
        pytest.param({"content": b"x" * 2000}, 413, "request_too_large", id="too large"),
        pytest.param({"content": b"", "headers": BROTLI}, 415, "unsupported_encoding", id="brotli"),
        pytest.param({"url": "/v1/images", "json": {}}, 404, "unknown_url", id="unknown path"),
        pytest.param({"method": "GET"}, 405, "method_not_allowed", id="GET"),
        pytest.param({"url": "/v1/models", "json": {}}, 405, "method_not_allowed", id="POST to models"),
        pytest.param({"url": "/v1/models/gpt-7", "method": "GET"}, 404, "model_not_found", id="model"),
    ],
)  # fmt: skip
async def test_a_request_that_cannot_be_right_is_refused_in_openais_shape(request_, status, code):
    async with product(settings=Settings(body_bytes=1000)) as (served, client):
        answer = await client.request(**{"method": "POST", "url": CHAT, **request_})
        good = await client.post(CHAT, json=BODY)
        records = await served.settled(1)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]
    assert answer.headers["x-should-retry"] == "false"
    if status == 405:
        assert answer.headers["allow"]
    assert good.status_code == 200
    assert len(records) == 1, "what was never accepted has no record"


async def test_a_body_that_grows_too_large_without_saying_so_is_refused():
    async def pieces():
        for _ in range(50):
            yield b"x" * 100

    async with product(settings=Settings(body_bytes=1000)) as (_, client):
        answer = await client.post(CHAT, content=pieces())
    assert answer.status_code == 413


async def test_a_body_that_does_not_come_is_a_408():
    async def pieces():
        yield b"{"
        await asyncio.sleep(0.3)

    async with product(settings=Settings(body_read_s=0.1)) as (_, client):
        answer = await client.post(CHAT, content=pieces())
    assert (answer.status_code, answer.json()["error"]["code"]) == (408, "body_timeout")


async def test_a_revoked_api_token_is_refused_on_the_next_request():
    async with product() as (served, client):
        assert (await client.post(CHAT, json=BODY)).status_code == 200
        served.gateway.set_callers(replace(CAST.callers(), by_digest={}))
        assert (await client.post(CHAT, json=BODY)).status_code == 401


async def test_the_sdk_retries_a_refusal_after_the_time_it_was_told():
    policy = CAST.policy(quotas={"requests_per_minute": 600, "queued": 1}, max_in_flight=1)
    async with product(policy, engine={"eos": None}) as (served, _), sdk(served.url, max_retries=2) as client:

        async def ask():
            return await client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=30)

        answers = await asyncio.gather(*(ask() for _ in range(3)))
        records = await served.settled(4)
    assert len(answers) == 3
    outcomes = [record.outcome for record in records]
    assert outcomes.count("ok") == 3
    assert outcomes.count("queue_full") >= 1


async def test_a_spent_minute_is_a_429_that_says_when_to_come_back():
    async with product(CAST.policy(quotas={"requests_per_minute": 1}, refusing=["requests_per_minute"])) as (
        served,
        client,
    ):
        first = await client.post(CHAT, json=BODY)
        second = await client.post(CHAT, json=BODY)
        records = await served.settled(2)
    assert (first.status_code, second.status_code) == (200, 429)
    assert second.json()["error"]["code"] == "rate_limit_exceeded"
    assert 50 <= int(second.headers["retry-after"]) <= 75
    assert [record.outcome for record in records] == ["ok", "quota"]


async def test_a_tenant_sees_its_own_line_and_no_other():
    policy = CAST.policy(max_in_flight=1)
    async with product(policy, engine={"failures": ("stall_first",)}) as (served, client):
        tasks = [asyncio.create_task(client.post(CHAT, json=BODY)) for _ in range(3)]
        while sum(view.queued for view in served.dispatcher.view()) < 2:
            await asyncio.sleep(0.005)
        mine = (await client.get("/v1/queue")).json()["pools"]
        other = {"authorization": f"Bearer {CAST.secrets['chat']}"}
        theirs = (await client.get("/v1/queue", headers=other)).json()["pools"]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert [(pool["queued_requests"], pool["in_flight_requests"]) for pool in mine] == [(2, 1)]
    assert [(pool["queued_requests"], pool["in_flight_requests"], pool["models"]) for pool in theirs] == [
        (0, 0, [])
    ]


async def test_a_draining_gateway_refuses_new_requests_and_ends_the_running_ones():
    async with product(engine={"eos": None}) as (served, client):
        running = asyncio.create_task(client.post(CHAT, json={**BODY, "max_tokens": 100}))
        while not any(view.in_flight for view in served.dispatcher.view()):
            await asyncio.sleep(0.005)
        drained = asyncio.create_task(served.gateway.drain(5))
        await asyncio.sleep(0)
        refused = await client.post(CHAT, json=BODY)
        ready = await client.get("/readyz")
        assert (await running).status_code == 200
        assert await drained == 0
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
    assert int(refused.headers["retry-after"]) >= 1
    assert (ready.status_code, ready.text) == (503, "draining\n")


@pytest.mark.parametrize(
    ("settings", "age_s", "code"),
    [(Settings(), 4000.0, "policy_stale"), (Settings(max_requests=0), 0.0, "overloaded")],
)
async def test_a_gateway_that_may_not_serve_says_why(settings, age_s, code):
    async with product(settings=settings, feed_age_s=lambda: age_s) as (_, client):
        answer = await client.post(CHAT, json=BODY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, code)


async def test_a_gateway_is_ready_when_it_has_a_policy():
    async with (
        running_gateway(None, CAST.callers(), {}) as served,
        httpx.AsyncClient(base_url=served.url) as client,
    ):
        before = await client.get("/readyz")
        served.gateway.set_policy(Policy(revision=1))
        after = await client.get("/readyz")
        alive = await client.get("/healthz")
    assert (before.status_code, after.status_code, alive.status_code) == (503, 200, 200)


async def test_a_model_without_a_backend_is_a_503():
    async with product(CAST.policy(backends=())) as (served, client):
        answer = await client.post(CHAT, json=BODY)
        records = await served.settled(1)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_backend")
    assert records[0].outcome == Outcome.NO_BACKEND


async def test_the_metrics_page_counts_what_happened_and_is_closed_to_strangers():
    async with product() as (served, client):
        await client.post(CHAT, json=BODY)
        await client.post(CHAT, json={**BODY, "model": "gpt-7"})
        await served.settled(1)
        page = (await client.get("/metrics")).text
        proxied = await client.get("/metrics", headers={"x-forwarded-for": "203.0.113.9"})
    assert f'fairlane_requests_total{{class="standard",model="{MODEL}",outcome="ok"}} 1.0' in page
    assert 'fairlane_rejected_total{reason="model_not_found"} 1.0' in page
    assert 'fairlane_queue_wait_seconds_count{class="standard"} 1.0' in page
    assert 'fairlane_inflight{backend="gpu-0",pool="main"} 0.0' in page
    assert proxied.status_code == 403


async def test_no_prompt_secret_or_user_reaches_records_or_logs(caplog):
    words = "the-secret-plan"
    async with product(engine={"failures": ("reset_mid:1",)}) as (served, client):
        body = {**BODY, "messages": [{"role": "user", "content": words}], "user": "alice@example.org"}
        with pytest.raises(httpx.HTTPError):
            await client.post(CHAT, json={**body, "stream": True})
        await client.post(CHAT, content=json.dumps(body)[:-1].encode())
        records = await served.settled(1)
    told = f"{records} {caplog.text}"
    assert records[0].user_hash
    for secret in (words, "alice", CAST.secrets["research"]):
        assert secret not in told
