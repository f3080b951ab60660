"""What a client hears of its place in line, in either dialect, and how long it is kept from hearing it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import httpx2 as httpx
import pytest

from gateway.settings import Settings
from tests.fakes.dialect_plane import (
    BODIES,
    CAST,
    HELLO,
    MESSAGES,
    RESPONSES,
    TEXT,
    anthropic_sdk,
    openai_sdk,
    product,
)
from tests.fakes.gateway import MODEL


@asynccontextmanager
async def a_waiting_stream(path, headers=None, **settings):
    """A stream in line behind another one, until the block lets it go."""
    settings = Settings(**{"hold_status_s": 0.05, "comment_every_s": 0.05, **settings})
    async with product(CAST.policy(max_in_flight=1), settings=settings) as (fake, served, client):
        fake.faults += ["silent"]
        first = asyncio.create_task(client.post(path, json={**BODIES[path], "stream": True}))
        while not fake.asked:
            await asyncio.sleep(0.005)

        async def let_go():
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)

        request = {"json": {**BODIES[path], "stream": True}, "headers": headers or {}}
        yield fake, served, client, request, let_go


@pytest.mark.parametrize("path", [MESSAGES, RESPONSES])
async def test_a_stream_that_waits_hears_of_its_place_and_then_gets_its_answer(path):
    async with (
        a_waiting_stream(path) as (_, _, client, request, let_go),
        client.stream("POST", path, **request) as answer,
    ):
        lines = answer.aiter_lines()
        waited = [await anext(lines) for _ in range(8)]
        await let_go()
        rest = [line async for line in lines]
    assert answer.headers["x-queue-position"] == "1"
    assert answer.headers["x-priority-class"] == "standard"
    assert ("request-id" in answer.headers) == (path == MESSAGES)
    assert ": queued position=1" in waited
    assert ("event: ping" in waited) == (path == MESSAGES)
    assert not [line for line in waited if line.startswith("event: response")]
    last = {MESSAGES: "event: message_stop", RESPONSES: "event: response.completed"}
    assert last[path] in rest


async def test_sdks_read_through_what_a_waiting_stream_is_told():
    for path in (MESSAGES, RESPONSES):
        async with a_waiting_stream(path) as (_, served, _, _, let_go):
            if path == MESSAGES:
                async with (
                    anthropic_sdk(served) as client,
                    client.messages.stream(model=MODEL, max_tokens=9, messages=HELLO) as stream,
                ):
                    await let_go()
                    text = (await stream.get_final_message()).content[0].text
            else:
                async with (
                    openai_sdk(served) as client,
                    client.responses.stream(model=MODEL, input="hello") as stream,
                ):
                    await let_go()
                    text = (await stream.get_final_response()).output_text
            early = stream.response.headers if path == MESSAGES else stream._response.headers
            assert "x-queue-position" in early
            assert text == TEXT


async def test_a_client_that_wants_a_real_status_never_gets_an_early_one():
    async with a_waiting_stream(MESSAGES, {"x-hold-ms": "inf"}) as (_, _, client, request, let_go):
        asked = asyncio.create_task(client.post(MESSAGES, **request))
        await asyncio.sleep(0.3)
        await let_go()
        answer = await asked
    assert "x-queue-position" not in answer.headers
    assert answer.text.startswith("event: message_start")


async def test_a_client_that_cannot_wait_for_a_status_gets_it_at_once():
    waiting = a_waiting_stream(MESSAGES, {"x-hold-ms": "0"}, hold_status_s=60.0)
    async with (
        waiting as (_, _, client, request, let_go),
        asyncio.timeout(5),
        client.stream("POST", MESSAGES, **request) as answer,
    ):
        assert answer.headers["x-queue-position"] == "1"
        await let_go()


async def test_a_full_line_says_when_a_place_in_it_will_be_free():
    policy = CAST.policy(max_in_flight=1, quotas={"queued": 1})
    async with product(policy, engine={"pause_s": 0.02}) as (_, _, client):
        body = {**BODIES[MESSAGES], "stream": True}
        for _ in range(3):
            await client.post(MESSAGES, json=body)
        answers = await asyncio.gather(*(client.post(MESSAGES, json=body) for _ in range(4)))
    full = [json.loads(answer.text) for answer in answers if answer.status_code == 429]
    waits = [int(answer.headers["retry-after-ms"]) for answer in answers if answer.status_code == 429]
    assert {refused["error"]["type"] for refused in full} == {"rate_limit_error"}
    assert all(wait < 1900 for wait in waits), "the pace of the line is known, so nobody waits the 2 s"


@asynccontextmanager
async def a_waiting_answer(path, fault=""):
    """An answer that is no stream, in line behind one that will not come; its client asked for blanks."""
    headers = {"x-keepalive": "whitespace"}
    async with a_waiting_stream(path, headers) as (fake, _, client, request, let_go):
        fake.faults += [fault]
        request["json"].pop("stream")
        yield client, request, let_go


@pytest.mark.parametrize("path", [MESSAGES, RESPONSES])
async def test_an_answer_that_waits_begins_with_blanks_when_its_client_wants_them(path):
    async with (
        a_waiting_answer(path) as (client, request, let_go),
        client.stream("POST", path, **request) as answer,
    ):
        pieces = answer.aiter_bytes()
        waited = [await anext(pieces) for _ in range(3)]
        await let_go()
        rest = b"".join([piece async for piece in pieces])
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-queue-position"] == "1"
    assert set(b"".join(waited)) == {ord(" ")}
    assert json.loads(b"".join(waited) + rest)["usage"]["output_tokens"] == 4


async def test_an_answer_that_fails_after_its_blanks_is_broken_off_with_the_error():
    async with (
        a_waiting_answer(MESSAGES, "refuse") as (client, request, let_go),
        client.stream("POST", MESSAGES, **request) as answer,
    ):
        pieces = answer.aiter_bytes()
        got = [await anext(pieces)]
        await let_go()
        with pytest.raises(httpx.RemoteProtocolError):
            await _read_on(pieces, got)
    assert json.loads(b"".join(got))["error"]["type"] == "invalid_request_error"


async def _read_on(pieces, got):
    async for piece in pieces:
        got.append(piece)
