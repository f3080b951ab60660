"""The Messages and the Responses API as clients meet them: real HTTP, real SDKs, an engine with both."""

from __future__ import annotations

import anthropic
import openai
import pytest

from gateway.settings import Settings
from tests.fakes.dialect_answers import WORDS
from tests.fakes.dialect_engine import SOUND, SPEECH
from tests.fakes.dialect_plane import (
    BODIES,
    CAST,
    COUNT,
    HELLO,
    MESSAGES,
    RESPONSES,
    SECRET,
    TEXT,
    anthropic_sdk,
    openai_sdk,
    product,
)
from tests.fakes.gateway import MODEL


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [MESSAGES, RESPONSES])
async def test_an_answer_passes_as_it_is_and_its_usage_is_charged(path, *, stream):
    async with product() as (fake, served, client):
        answer = await client.post(path, json={**BODIES[path], "stream": stream, "service_tier": "auto"})
        (record,) = await served.settled()
    assert answer.status_code == 200
    assert WORDS[1] in answer.text
    assert (record.prompt_tokens, record.cached_tokens, record.completion_tokens) == (12, 8, 4)
    assert (record.endpoint, record.outcome, record.estimated) == (path, "ok", False)
    assert answer.headers["x-priority-class"] == "standard"
    assert int(answer.headers["openai-processing-ms"]) >= 0
    assert "service_tier" not in fake.asked[0].body
    assert b"x-api-key" not in fake.asked[0].headers


async def test_openais_sdk_gets_responses_whole_in_events_and_with_tools():
    tool = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
    async with product() as (_, served, _), openai_sdk(served) as client:
        whole = await client.responses.create(model=MODEL, input="hello")
        async with client.responses.stream(model=MODEL, input="hello") as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_response()
        called = await client.responses.create(model=MODEL, input="hello", tools=[tool])
    assert whole.output_text == final.output_text == TEXT
    assert whole.usage.output_tokens == len(WORDS)
    assert whole._request_id
    assert kinds.count("response.output_text.delta") == len(WORDS)
    assert called.output[0].name == "weather"


async def test_anthropics_sdk_gets_messages_whole_in_events_and_with_tools():
    tool = {"name": "weather", "input_schema": {"type": "object"}}
    async with product() as (fake, served, _), anthropic_sdk(served) as client:
        whole = await client.messages.create(model=MODEL, max_tokens=9, messages=HELLO)
        async with client.messages.stream(model=MODEL, max_tokens=9, messages=HELLO) as stream:
            text = "".join([piece async for piece in stream.text_stream])
        called = await client.messages.create(model=MODEL, max_tokens=9, messages=HELLO, tools=[tool])
        counted = await client.messages.count_tokens(model=MODEL, messages=HELLO)
        beta = await client.beta.messages.create(model=MODEL, max_tokens=9, messages=HELLO, betas=["b-1"])
    assert whole.content[0].text == text == beta.content[0].text == TEXT
    assert whole._request_id.startswith("req_")
    assert called.content[0].input == {"city": "Wien"}
    assert counted.input_tokens == 12
    assert fake.asked[0].headers[b"anthropic-version"]
    assert fake.asked[-1].headers[b"anthropic-beta"] == b"b-1"


@pytest.mark.parametrize(
    ("change", "raised"),
    [
        pytest.param({"secret": "nope"}, anthropic.AuthenticationError, id="token"),
        pytest.param({"model": "gpt-7"}, anthropic.NotFoundError, id="model"),
        pytest.param({"max_tokens": 0}, anthropic.BadRequestError, id="length"),
        pytest.param({"messages": [{"role": "user", "content": "x" * 5000}]},
                     anthropic.RequestTooLargeError, id="size"),
        pytest.param({"fault": "refuse"}, anthropic.BadRequestError, id="the engine's word"),
    ],
)  # fmt: skip
async def test_anthropics_sdk_raises_the_error_that_the_case_is(change, raised):
    members = {"model": MODEL, "max_tokens": 9, "messages": HELLO, **change}
    secret, fault = members.pop("secret", SECRET), members.pop("fault", None)
    async with product(settings=Settings(body_bytes=1000)) as (fake, served, _):
        fake.faults += [fault] if fault else []
        async with anthropic_sdk(served, secret) as client:
            with pytest.raises(raised) as caught:
                await client.messages.create(**members)
    assert caught.value.body["type"] == "error"
    assert caught.value.body["request_id"] == caught.value.response.headers["request-id"]
    assert caught.value.response.headers["x-should-retry"] == "false"


async def test_a_gateway_that_drains_is_overloaded_in_anthropics_words():
    async with product() as (_, served, _), anthropic_sdk(served) as client:
        served.gateway.draining = True
        with pytest.raises(anthropic.OverloadedError) as caught:
            await client.messages.create(model=MODEL, max_tokens=9, messages=HELLO)
    assert caught.value.status_code == 529
    assert int(caught.value.response.headers["retry-after"]) >= 1


async def test_a_messages_answer_tells_what_is_left_in_anthropics_words():
    policy = CAST.policy(quotas={"requests_per_minute": 60, "tokens_per_minute": 10_000})
    async with product(policy) as (_, _, client):
        message = await client.post(MESSAGES, json=BODIES[MESSAGES])
        response = await client.post(RESPONSES, json=BODIES[RESPONSES])
    assert message.headers["anthropic-ratelimit-requests-remaining"] == "59"
    assert message.headers["anthropic-ratelimit-tokens-reset"].endswith("Z")
    assert message.headers["request-id"] == message.headers["x-request-id"]
    assert "x-ratelimit-limit-requests" not in message.headers
    assert response.headers["ratelimit-policy"].startswith('"requests";q=60;w=60, "tokens";q=10000')
    assert "request-id" not in response.headers


@pytest.mark.parametrize("fault", ["error", "die"])
async def test_a_stream_that_breaks_off_is_an_error_for_every_sdk(fault):
    async with product() as (fake, served, _):
        fake.faults += [fault] * 2
        async with anthropic_sdk(served) as client:
            with pytest.raises((anthropic.APIStatusError, anthropic.APIConnectionError)):
                async with client.messages.stream(model=MODEL, max_tokens=9, messages=HELLO) as stream:
                    await stream.get_final_message()
        async with openai_sdk(served) as client:
            with pytest.raises(openai.APIError):
                async with client.responses.stream(model=MODEL, input="hello") as stream:
                    await stream.get_final_response()
        records = await served.settled(2)
    outcomes = {"error": "upstream_5xx", "die": "upstream_reset"}
    assert [record.outcome for record in records] == [outcomes[fault]] * 2


async def test_a_busy_engine_costs_a_message_nothing_but_time():
    async with product() as (fake, served, client):
        fake.faults += ["busy"]
        answer = await client.post(MESSAGES, json=BODIES[MESSAGES])
        (record,) = await served.settled()
    assert answer.status_code == 200
    assert record.attempt == 2


@pytest.mark.parametrize("path", [COUNT, "/v1/tokenize", "/v1/detokenize"])
async def test_what_only_a_tokenizer_does_is_charged_one_token_and_one_request(path):
    policy = CAST.policy(quotas={"requests_per_minute": 60})
    async with product(policy) as (fake, served, client):
        answer = await client.post(path, json=BODIES[path])
        (record,) = await served.settled()
        left = (await client.post(RESPONSES, json=BODIES[RESPONSES])).headers
    assert answer.status_code == 200
    assert (record.prompt_tokens, record.completion_tokens, record.cost) == (1, 0, 1)
    assert left["x-ratelimit-remaining-requests"] == "58"
    assert fake.asked[0].path == (path if path == COUNT else path.removeprefix("/v1"))


@pytest.mark.parametrize("path", ["/v1/rerank", "/v1/score"])
async def test_what_generates_nothing_is_charged_the_tokens_it_read(path):
    async with product() as (fake, served, client):
        answer = await client.post(path, json=BODIES[path])
        (record,) = await served.settled()
    assert answer.status_code == 200
    assert (record.prompt_tokens, record.completion_tokens, record.estimated) == (9, 0, False)
    assert fake.asked[0].path == path


async def test_only_paths_on_the_admins_list_are_passed_on():
    body = {"model": MODEL, "input": "x" * 400}
    async with product() as (fake, served, client):
        unknown = await client.post("/v1/moderations", json=body)
        assert not fake.asked
    async with product(settings=Settings(passed_paths=f"/v1/moderations,{SPEECH}")) as (fake, served, client):
        passed = await client.post("/v1/moderations", json=body)
        sound = await client.post(SPEECH, json=body)
        records = await served.settled(2)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_url")
    assert passed.json()["results"] == [{"flagged": False}]
    assert (sound.content, sound.headers["content-type"]) == (SOUND, "audio/mpeg")
    assert all(record.prompt_tokens > 100 and record.completion_tokens == 0 for record in records)
    assert [asked.body for asked in fake.asked] == [body, body]


async def test_a_path_that_the_engine_does_not_serve_is_an_error_in_the_apis_shape():
    async with product() as (_, _, client):
        answer = await client.post("/v1/embeddings", json={"model": MODEL, "input": "x"})
    error = {"type": "invalid_request_error", "message": "Not Found", "param": None, "code": "upstream_4xx"}
    assert (answer.status_code, answer.json()["error"]) == (404, error)


async def test_an_api_that_an_engine_has_not_built_in_costs_it_none_of_its_trust():
    async with product() as (fake, served, client):
        fake.faults += ["unable"] * 5
        answers = [await client.post("/v1/rerank", json=BODIES["/v1/rerank"]) for _ in range(5)]
        assert served.dispatcher.serves("main", MODEL)
        good = await client.post(MESSAGES, json=BODIES[MESSAGES])
        records = await served.settled(6)
    assert {answer.status_code for answer in answers} == {501}
    assert answers[0].headers["x-should-retry"] == "false"
    assert answers[0].json()["error"]["message"] == "The engine says not_supported_error."
    assert good.status_code == 200
    assert [record.outcome for record in records] == ["upstream_4xx"] * 5 + ["ok"]


@pytest.mark.parametrize(("method", "path"), [("GET", "resp_1"), ("POST", "resp_1/cancel"), ("DELETE", "x")])
async def test_a_response_cannot_be_asked_for_again_and_the_client_hears_why(method, path):
    async with product() as (_, _, client):
        answer = await client.request(method, f"{RESPONSES}/{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "response_not_kept")


async def test_an_unknown_path_of_the_messages_api_is_refused_in_its_words():
    async with product() as (_, _, client):
        answer = await client.post(f"{MESSAGES}/batches", json={})
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")
