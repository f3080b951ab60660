"""Sound and pictures in forms, as OpenAI's SDK and others send them, to an engine that hears them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from types import MappingProxyType

import httpx2 as httpx
import openai
import pytest

from gateway import forms
from gateway.models import UsageRecord
from gateway.settings import Settings
from scheduling import services
from scheduling.core.policy import REQUESTS_PER_MINUTE, ModelRoute
from scheduling.engines.endpoint import Endpoint
from tests.fakes.gateway import MODEL, Cast, running_gateway
from tests.fakes.plane import MODEL as PLANE_MODEL
from tests.fakes.plane import read, running_plane
from tests.fakes.voice_engine import SPOKEN, WORDS, voice_engine

CAST = Cast.of("research")
SECRET = CAST.secrets["research"]
PATH = "/v1/audio/transcriptions"
SOUND = b'RIFF\x00\r\n--\xff"[{' * 3000
POLICY = CAST.policy()


@asynccontextmanager
async def product(policy=POLICY, settings=None, **engine):
    async with (
        voice_engine(**engine) as fake,
        running_gateway(
            policy,
            CAST.callers(),
            {"gpu-0": Endpoint("gpu-0", fake.url, "vllm")},
            settings=settings,
        ) as served,
        httpx.AsyncClient(base_url=served.url, headers={"x-api-key": SECRET}, timeout=10) as client,
    ):
        yield fake, served, client


def sdk(served):
    return openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=SECRET, max_retries=0)


@pytest.mark.parametrize("ways", ["vllm", "openai"])
async def test_openais_sdk_has_sound_transcribed_and_its_usage_is_in_the_record(ways):
    async with product(ways=ways) as (fake, served, _), sdk(served) as client:
        said = await client.audio.transcriptions.create(file=("beer.wav", SOUND), model=MODEL, language="en")
        (record,) = await served.settled()
    assert said.text == SPOKEN
    (form,) = fake.heard
    assert form.files == {"file": ("beer.wav", SOUND)}
    assert form.said == {"model": MODEL, "language": "en"}
    assert (record.endpoint, record.outcome, record.stream) == (PATH, "ok", False)
    assert (record.prompt_tokens, record.estimated) == ((31, False) if ways == "openai" else (32, True))
    assert record.completion_tokens > 0


@pytest.mark.parametrize("ways", ["vllm", "openai"])
async def test_openais_sdk_hears_a_transcription_word_by_word(ways):
    async with product(ways=ways) as (_, served, _), sdk(served) as client:
        stream = await client.audio.transcriptions.create(file=("a.wav", SOUND), model=MODEL, stream=True)
        events = [event async for event in stream]
        (record,) = await served.settled()
    assert len(events) == len(WORDS) + (ways == "openai")
    assert (record.stream, record.outcome) == (True, "ok")
    assert record.first_token_at is not None
    assert record.completion_tokens >= len(WORDS)


async def test_a_translation_may_be_plain_text():
    path, fields = "/v1/audio/translations", {"model": MODEL, "response_format": "text"}
    async with product() as (fake, served, client):
        answer = await client.post(path, data=fields, files={"file": SOUND})
        (record,) = await served.settled()
    assert answer.text.strip() == SPOKEN
    assert answer.headers["content-type"].startswith("text/plain")
    assert fake.heard[0].path == record.endpoint == path
    assert (record.outcome, record.completion_tokens) == ("ok", (len(SPOKEN) + 1) // 4)


async def test_a_form_reaches_the_engine_byte_for_byte():
    async with product() as (fake, _, client):
        request = client.build_request("POST", PATH, data={"model": MODEL}, files={"file": ("a", SOUND)})
        sent = request.read()
        answer = await client.send(request)
    assert answer.status_code == 200
    assert fake.heard[0].body == sent
    assert answer.headers["x-priority-class"] == "standard"


async def test_an_alias_is_the_models_own_name_in_the_engines_form():
    routes = MappingProxyType({"whisper": ModelRoute(((MODEL, 1),))})
    async with product(replace(POLICY, routes=routes)) as (fake, served, client):
        answer = await client.post(PATH, data={"model": "whisper", "prompt": "beer"}, files={"file": SOUND})
        (record,) = await served.settled()
    assert (answer.status_code, answer.headers["x-fairlane-model"]) == (200, MODEL)
    assert fake.heard[0].said == {"model": MODEL, "prompt": "beer"}
    assert fake.heard[0].files["file"][1] == SOUND
    assert record.model == MODEL


async def test_a_class_is_chosen_by_a_field_which_no_engine_sees():
    fields = {"model": MODEL, "service_tier": "flex", "priority": "-1", "timeout_ms": "9000", "seed": "7"}
    async with product() as (fake, _, client):
        answer = await client.post(PATH, data=fields, files={"file": SOUND})
    assert answer.headers["x-priority-class"] == "batch"
    assert fake.heard[0].said == {"model": MODEL, "seed": "7"}


async def test_a_busy_engine_is_asked_again_with_the_same_form():
    async with product(busy=1) as (fake, served, client):
        answer = await client.post(PATH, data={"model": MODEL}, files={"file": SOUND})
        (record,) = await served.settled()
    assert (answer.status_code, record.attempt) == (200, 2)
    assert fake.heard[0].body == fake.heard[1].body


async def test_a_form_falls_back_to_another_model_under_that_models_name():
    policy = replace(
        POLICY,
        routes=MappingProxyType({"whisper": ModelRoute((("gone", 1),), fallbacks=(MODEL,))}),
        models=MappingProxyType({**POLICY.models, "gone": "main"}),
    )
    async with product(policy) as (fake, _, client):
        answer = await client.post(PATH, data={"model": "whisper"}, files={"file": SOUND})
    assert (answer.status_code, answer.headers["x-fairlane-model"]) == (200, MODEL)
    assert fake.heard[0].said == {"model": MODEL}


async def test_the_same_form_under_another_boundary_is_the_same_request_of_its_key():
    async with product() as (fake, _, client):
        headers = {"idempotency-key": "k1"}
        answers = [
            await client.post(PATH, headers=headers, data={"model": MODEL}, files={"file": sound})
            for sound in (SOUND, SOUND, SOUND + b"!")
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 422]
    assert answers[0].content == answers[1].content
    assert len(fake.heard) == 1


async def test_a_form_is_parsed_once_whether_or_not_it_has_a_key(monkeypatch):
    read, parsed = forms.Form.read, []
    monkeypatch.setattr(forms.Form, "read", lambda headers, body: parsed.append(1) or read(headers, body))
    async with product() as (_, _, client):
        for headers in ({}, {"idempotency-key": "k1"}):
            await client.post(PATH, headers=headers, data={"model": MODEL}, files={"file": SOUND})
            assert len(parsed) == 1
            parsed.clear()


async def test_a_transcription_is_counted_in_its_tenants_quotas():
    async with product(CAST.policy(quotas={REQUESTS_PER_MINUTE: 60})) as (_, _, client):
        answer = await client.post(PATH, data={"model": MODEL}, files={"file": SOUND})
    assert answer.headers["x-ratelimit-remaining-requests"] == "59"


async def test_a_form_is_bounded_as_any_body_is():
    async with product(settings=Settings(body_bytes=10_000)) as (fake, _, client):
        answer = await client.post(PATH, data={"model": MODEL}, files={"file": SOUND})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
    assert not fake.heard


@pytest.mark.parametrize(
    ("body", "kind", "code", "param"),
    [
        pytest.param(b'{"model":"x"}', "application/json", "invalid_multipart", None, id="JSON"),
        pytest.param(b"--b--\r\n", "multipart/form-data", "invalid_multipart", None, id="no boundary"),
        pytest.param(b"--c\r\n", "multipart/form-data; boundary=b", "invalid_multipart", None, id="another"),
        pytest.param(b"--b--\r\n", "multipart/form-data; boundary=b", "invalid_request", "model", id="empty"),
    ],
)
async def test_a_form_that_cannot_be_read_is_refused_with_the_mend(body, kind, code, param):
    async with product() as (fake, served, client):
        answer = await client.post(PATH, headers={"content-type": kind}, content=body)
        assert not served.gateway.books.going.of("research")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
    assert not fake.heard


async def test_a_listed_path_takes_forms_and_json():
    settings = Settings(passed_paths="/v1/images/edits")
    async with product(settings=settings) as (fake, served, client):
        pictures = [("image[]", b"\x89PNG" * 2000), ("image[]", b"\x89PNG")]
        edited = await client.post(
            "/v1/images/edits", data={"model": MODEL, "prompt": "a hat"}, files=pictures
        )
        refused = await client.post("/v1/images/edits", json={"prompt": "a hat"})
        (record,) = await served.settled()
    assert edited.status_code == 200
    assert fake.heard[0].said == {"model": MODEL, "prompt": "a hat"}
    assert (record.endpoint, record.outcome) == ("/v1/images/edits", "ok")
    assert refused.json()["error"]["param"] == "model"


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
async def test_the_whole_product_transcribes_under_an_alias_and_keeps_one_record(valkey):
    async with voice_engine() as fake:
        async with running_plane() as plane:
            secrets = await plane.setup([fake], {"chat": {}})
            await plane.write(services.create_alias, name="whisper-1", targets={PLANE_MODEL: 1})
            await plane.settle()
            async with openai.AsyncOpenAI(base_url=f"{plane.url}/v1", api_key=secrets["chat"]) as client:
                said = await client.audio.transcriptions.create(file=("a.wav", SOUND), model="whisper-1")
        (record,) = await read(lambda: list(UsageRecord.objects.all()))
    assert said.text == SPOKEN
    assert fake.heard[0].said == {"model": PLANE_MODEL}
    assert (record.tenant, record.model, record.endpoint) == ("chat", PLANE_MODEL, PATH)
    assert (record.outcome, record.prompt_tokens, record.estimated) == ("ok", 32, True)
