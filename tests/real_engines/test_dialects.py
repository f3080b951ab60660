"""The Messages and the Responses API of engines that are not ours, through the gateway."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from types import MappingProxyType

import httpx2 as httpx
import pytest

from scheduling.core.policy import BackendRule
from scheduling.engines.endpoint import Endpoint
from tests.fakes.gateway import POOL, Cast, running_gateway

pytestmark = pytest.mark.real_engine
CAST = Cast.of("research")
HELLO = [{"role": "user", "content": "each tenant takes its turn"}]
BODIES = {
    "/v1/messages": {"max_tokens": 8, "messages": HELLO, "system": "be brief"},
    "/v1/responses": {"max_output_tokens": 8, "input": "each tenant", "service_tier": "fast"},
}
COUNTED = {
    "/v1/messages/count_tokens": {"messages": HELLO},
    "/v1/tokenize": {"prompt": "each tenant", "content": "each tenant"},
    "/v1/detokenize": {"tokens": [66, 67]},
}


@pytest.fixture(params=["vllm", "llamacpp"])
def engine(request: pytest.FixtureRequest) -> Endpoint:
    url = request.getfixturevalue("engine_url") if request.param == "vllm" else None
    return Endpoint("real", url or request.getfixturevalue("own_llamacpp").url, request.param)


@asynccontextmanager
async def product(engine: Endpoint):
    policy = replace(
        CAST.policy(),
        backends=MappingProxyType({"real": BackendRule("real", POOL, frozenset({"tiny"}), max_in_flight=2)}),
        models=MappingProxyType({"tiny": POOL}),
    )
    async with (
        running_gateway(policy, CAST.callers(), {"real": engine}) as served,
        httpx.AsyncClient(
            base_url=served.url, headers={"x-api-key": CAST.secrets["research"]}, timeout=120
        ) as client,
    ):
        yield served, client


@pytest.mark.parametrize("path", BODIES)
async def test_both_apis_answer_whole_and_in_events_and_report_their_usage(engine, path) -> None:
    async with product(engine) as (served, client):
        for stream in (False, True):
            answer = await client.post(path, json={"model": "tiny", **BODIES[path], "stream": stream})
            assert answer.status_code == 200, answer.text
        whole, streamed = await served.settled(2)

    last = {"/v1/messages": "event: message_stop", "/v1/responses": "event: response.completed"}
    assert last[path] in answer.text
    assert whole.outcome == streamed.outcome == "ok"
    assert 1 <= whole.completion_tokens <= 8
    assert 1 <= streamed.completion_tokens <= 8
    assert not whole.estimated
    # llama.cpp leaves message_start out, and so the prompt, when its first token is no whole character
    assert not streamed.estimated or (engine.engine == "llamacpp" and "message_start" not in answer.text)


@pytest.mark.parametrize("path", COUNTED)
async def test_the_tokenizer_is_asked_where_each_engine_has_it(engine, path) -> None:
    async with product(engine) as (served, client):
        answer = await client.post(path, json={"model": "tiny", **COUNTED[path]})
        (record,) = await served.settled()

    assert answer.status_code == 200, answer.text
    assert record.cost == 1


async def test_an_api_that_the_engine_lacks_is_refused_and_the_engine_still_trusted(engine) -> None:
    async with product(engine) as (served, client):
        for _ in range(4):
            answer = await client.post("/v1/rerank", json={"model": "tiny", "query": "a", "documents": ["b"]})
            assert answer.status_code in (404, 501)
            assert answer.headers["x-should-retry"] == "false"
        assert served.dispatcher.serves(POOL, "tiny")


async def test_what_the_engine_says_of_a_bad_message_comes_in_anthropics_shape(engine) -> None:
    bad = {"model": "tiny", "max_tokens": 8, "messages": HELLO, "temperature": "hot"}
    async with product(engine) as (_, client):
        answer = await client.post("/v1/messages", json=bad)

    assert answer.status_code == 400
    assert "temperature" in answer.json()["error"]["message"]
    assert answer.json().keys() == {"type", "error", "request_id"}
