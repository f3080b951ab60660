"""The simulated engine in the dialects beside OpenAI's older ones, through the gateway and the SDKs."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from pathlib import Path

import anthropic
import httpx2 as httpx
import openai
import pytest

from scheduling.engines.endpoint import Endpoint
from tests.fakes.engine import running_engine
from tests.fakes.gateway import MODEL, Cast, running_gateway

CAST = Cast.of("research")
SECRET = CAST.secrets["research"]
HELLO = [{"role": "user", "content": "hello"}]
RECORDED = Path(__file__).parents[1] / "fakes" / "recorded"


@asynccontextmanager
async def product():
    async with (
        running_engine(model=MODEL, time_scale=100, eos=None) as sim,
        running_gateway(
            CAST.policy(), CAST.callers(), {"gpu-0": Endpoint("gpu-0", sim.url, "vllm")}
        ) as served,
    ):
        yield served


async def test_anthropics_sdk_talks_to_the_simulated_engine():
    async with (
        product() as served,
        anthropic.AsyncAnthropic(base_url=served.url, api_key=SECRET, max_retries=0) as client,
    ):
        ask = {"model": MODEL, "max_tokens": 4, "messages": HELLO, "system": "be brief"}
        whole = await client.messages.create(**ask)
        async with client.messages.stream(**ask) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
        counted = await client.messages.count_tokens(model=MODEL, messages=HELLO, system="be brief")
        records = await served.settled(3)
    assert whole.content[0].text == text == "the quick brown fox"
    assert (whole.stop_reason, final.stop_reason) == ("max_tokens", "max_tokens")
    assert final.usage.output_tokens == whole.usage.output_tokens == 4
    assert counted.input_tokens == whole.usage.input_tokens
    assert [record.prompt_tokens for record in records] == [counted.input_tokens] * 2 + [1]
    assert [record.estimated for record in records] == [False, False, True]


async def test_openais_sdk_gets_responses_of_the_simulated_engine():
    async with (
        product() as served,
        openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=SECRET, max_retries=0) as client,
    ):
        ask = {"model": MODEL, "max_output_tokens": 4, "input": "hello", "instructions": "be brief"}
        whole = await client.responses.create(**ask)
        async with client.responses.stream(**ask) as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_response()
        listed = await client.responses.create(**{**ask, "input": HELLO})
        records = await served.settled(3)
    assert whole.output_text == final.output_text == listed.output_text == "the quick brown fox"
    assert whole.status == final.status == "incomplete"
    assert kinds.count("response.output_text.delta") == 4
    assert {(record.completion_tokens, record.estimated) for record in records} == {(4, False)}


@pytest.mark.parametrize("api", ["messages", "responses"])
async def test_the_simulated_engines_events_are_those_of_the_real_one(api):
    body = {
        "messages": {"model": MODEL, "max_tokens": 8, "messages": HELLO, "stream": True},
        "responses": {"model": MODEL, "max_output_tokens": 8, "input": "hello", "stream": True},
    }
    async with product() as served, httpx.AsyncClient(base_url=served.url, timeout=10) as client:
        answer = await client.post(f"/v1/{api}", json=body[api], headers={"x-api-key": SECRET})
    real = (RECORDED / f"vllm_0.32.0_{api}_stream.txt").read_text()

    def kinds(text):
        names = re.findall(r"^event: (.+)$", text, re.MULTILINE)
        return [name for number, name in enumerate(names) if name != (names[number - 1] if number else "")]

    assert kinds(answer.text) == kinds(real)


async def test_the_simulated_engine_ranks_scores_and_tokenizes():
    async with (
        product() as served,
        httpx.AsyncClient(base_url=served.url, timeout=10, headers={"x-api-key": SECRET}) as client,
    ):

        async def ask(path, **members):
            return (await client.post(f"/v1/{path}", json={"model": MODEL, **members})).json()

        ranked = await ask("rerank", query="who", documents=["a", "bb", "ccc"])
        scored = await ask("score", text_1="who", text_2=["a", "bb", "ccc"])
        tokens = await ask("tokenize", prompt="once upon a time")
        counted = await ask("tokenize", messages=HELLO)
        text = await ask("detokenize", tokens=[7, 8])
        refused = [await ask("tokenize", prompt=[1]), await ask("detokenize", tokens="x")]
        refused += [await ask("rerank", query="x", documents=[1]), await ask("score", text_1=["x"])]
    order = [result["relevance_score"] for result in ranked["results"]]
    assert order == sorted(order, reverse=True)
    assert {one["score"] for one in scored["data"]} == set(order)
    assert (tokens["count"], len(tokens["tokens"])) == (4, 4)
    assert counted["count"] > 1
    assert text == {"prompt": " t7 t8"}
    assert [one["error"]["param"] for one in refused] == ["prompt", "tokens", "documents", "text_1"]
