"""A WebSocket's requests run once for each key, and are told when to come back, as HTTP's are."""

from __future__ import annotations

import asyncio
import json

import httpx2 as httpx
import pytest

from gateway.errors import Draining, Invalid
from gateway.headers import RequestId, refusal_headers
from gateway.ws_client import error_frame
from tests.fakes.faulty import answer, says
from tests.fakes.faulty_gateway import SECRET
from tests.fakes.gateway import MODEL
from tests.fakes.socket_client import PATH, kinds, talk, until_done
from tests.fakes.socket_gateway import BEGUN, GOOD, gateway
from tests.fakes.waiting import until

BODY = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
WRONG = answer(b'{"error":{"message":"temperature is too high","param":"temperature"}}', "400 Bad Request")


async def ask(socket, key, **members):
    frame = {"type": "request", "idempotency_key": key, "body": {**BODY, **members}}
    await socket.send(json.dumps(frame))
    return await until_done(socket)


def codes(frames):
    return [(each["status"], each["error"]["code"]) for each in frames if each["type"] == "error"]


async def test_a_request_with_a_key_runs_once_and_then_its_key_is_spent():
    async with gateway(says(GOOD)) as (served, engine), talk(served.url, SECRET) as socket:
        first = await ask(socket, "k1")
        again = await ask(socket, "k1")
        otherwise = await ask(socket, "k1", temperature=1)
        another = await ask(socket, "k2")
    assert kinds(first) == kinds(another) == ["chunk", "usage", "done"]
    assert codes(again) == [(409, "idempotency_spent")]
    assert codes(otherwise) == [(422, "idempotency_mismatch")]
    assert len(engine.asked) == 2


async def test_a_key_is_taken_while_its_request_runs_on_another_socket():
    async with (
        gateway(says(BEGUN, then="stall")) as (served, engine),
        talk(served.url, SECRET) as one,
        talk(served.url, SECRET) as other,
    ):
        running = asyncio.create_task(ask(one, "k1"))
        await until(lambda: engine.asked)
        (refused, _) = await ask(other, "k1")
        await one.send('{"type":"cancel"}')
        await running
    assert (refused["status"], refused["error"]["code"]) == (409, "idempotency_in_progress")
    assert refused["retry_after_ms"] > 0
    assert len(engine.asked) == 1


async def test_an_engines_refusal_is_told_again_with_the_id_that_it_had():
    async with gateway(says(WRONG)) as (served, engine), talk(served.url, SECRET) as socket:
        first = await ask(socket, "k1")
        again = await ask(socket, "k1")
    assert codes(first) == codes(again) == [(400, "upstream_4xx")]
    assert first[0]["error"] == again[0]["error"]
    assert again[0]["original_request_id"] == first[0]["request_id"] != again[0]["request_id"]
    assert kinds(again) == ["error", "done"]
    assert len(engine.asked) == 1


async def test_a_key_is_the_api_tokens_own_however_the_request_comes():
    async with gateway(says(GOOD)) as (served, _), talk(served.url, SECRET) as socket:
        await ask(socket, "k1")
        headers = {"authorization": f"Bearer {SECRET}", "idempotency-key": "k1"}
        async with httpx.AsyncClient(base_url=served.url, headers=headers) as client:
            same = await client.post(PATH, content=json.dumps(BODY)[:-1] + ',"stream":true}')
            other = await client.post(PATH, json=BODY)
    assert same.json()["error"]["code"] == "idempotency_spent"
    assert other.json()["error"]["code"] == "idempotency_mismatch"


@pytest.mark.parametrize("key", ["", " k", "k" * 256, "schlüssel", "a\nb", 5])
async def test_a_key_that_is_none_is_refused_by_its_name(key):
    async with gateway(says(GOOD)) as (served, engine), talk(served.url, SECRET) as socket:
        await socket.send(json.dumps({"type": "request", "idempotency_key": key, "body": BODY}))
        refused = json.loads(await socket.recv())
        assert kinds(await ask(socket, "k")) == ["chunk", "usage", "done"]
    assert refused["status"] == 400
    assert "idempotency_key" in refused["error"]["message"]
    assert len(engine.asked) == 1


def test_a_frame_says_when_to_come_back_as_the_header_does_and_not_to_all_the_same():
    waits = set()
    for _ in range(50):
        request_id = RequestId.of({})
        for refused in (Draining(), Invalid()):
            header = dict(refusal_headers(refused, request_id)).get(b"retry-after-ms")
            wait_ms = json.loads(error_frame(refused, request_id))["retry_after_ms"]
            assert wait_ms == (None if header is None else int(header))
            waits.add(wait_ms)
    assert len(waits) > 10
