"""An API token that says for how long its waiting streams get no status line."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf

import pytest

from gateway.callers import CallerTable
from gateway.settings import Settings
from tests.fakes.dialect_plane import BODIES, CAST, MESSAGES, product

STREAM = {**BODIES[MESSAGES], "stream": True}
CHAT = {"x-api-key": CAST.secrets["chat"]}
NOT_YET_S = 0.4  # longer than a beat of the pulse, after which an early status line would be there


def callers(hold_s):
    """Research's API token holds its status lines for so long; chat's as the knob says."""
    table = {
        digest: replace(caller, hold_s=hold_s) if caller.tenant == "research" else caller
        for digest, caller in CAST.callers().by_digest.items()
    }
    return CallerTable(1, table)


@asynccontextmanager
async def a_full_engine(hold_s, **settings):
    """Research's client, and what lets the request go that has the only seat."""
    settings = Settings(**{"comment_every_s": 0.05, **settings})
    policy = CAST.policy(max_in_flight=1)
    async with product(policy, callers=callers(hold_s), settings=settings) as (fake, _, client):
        fake.faults += ["silent"]
        first = asyncio.create_task(client.post(MESSAGES, json=STREAM, headers=CHAT))
        while not fake.asked:
            await asyncio.sleep(0.005)

        async def let_go():
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)

        yield client, let_go


async def test_a_token_with_hold_0_hears_of_its_place_at_once_while_anothers_status_line_is_held_back():
    async with a_full_engine(0.0, hold_status_s=60.0) as (client, let_go), asyncio.timeout(10):
        held_back = asyncio.create_task(client.post(MESSAGES, json=STREAM, headers=CHAT))
        async with client.stream("POST", MESSAGES, json=STREAM) as answer:
            lines = answer.aiter_lines()
            heard = await anext(lines)
            assert not held_back.done()
            await let_go()
            rest = [line async for line in lines]
        later = await held_back
    assert (answer.status_code, answer.headers["x-queue-position"]) == (200, "1")
    assert heard == ": queued position=1"
    assert "event: message_stop" in rest
    assert (later.status_code, "x-queue-position" in later.headers) == (200, False)


async def test_a_token_that_never_commits_gets_a_real_error_after_a_long_wait():
    async with a_full_engine(inf, hold_status_s=0.02, queue_timeout_s=0.6) as (client, let_go):
        refused = await client.post(MESSAGES, json=STREAM)
        async with client.stream("POST", MESSAGES, json=STREAM, headers=CHAT) as others:
            assert others.status_code == 200, "the other API token's status line is out before its error"
        await let_go()
    assert (refused.status_code, json.loads(refused.text)["type"]) == (529, "error")
    assert refused.headers["x-should-retry"] == "true"


@pytest.mark.parametrize(("hold_s", "asked_ms", "early"), [(inf, "0", True), (0.0, "inf", False)])
async def test_what_a_request_says_of_its_status_line_goes_before_what_its_token_says(
    hold_s, asked_ms, early
):
    async with a_full_engine(hold_s) as (client, let_go), asyncio.timeout(10):
        asked = client.build_request("POST", MESSAGES, json=STREAM, headers={"x-hold-ms": asked_ms})
        answer = asyncio.create_task(client.send(asked, stream=True))
        await asyncio.wait([answer], timeout=None if early else NOT_YET_S)
        assert answer.done() is early
        await let_go()
        got = await answer
        assert ("x-queue-position" in got.headers) is early
        await got.aclose()


async def test_a_tokens_time_holds_for_the_blanks_before_an_answer_too():
    async with a_full_engine(0.0) as (client, let_go), asyncio.timeout(10):
        headers = {"x-keepalive": "whitespace"}
        async with client.stream("POST", MESSAGES, json=BODIES[MESSAGES], headers=headers) as answer:
            assert answer.headers["x-queue-position"] == "1"
            await let_go()
            assert json.loads(await answer.aread())["usage"]["output_tokens"] == 4


@pytest.mark.parametrize(("hold_s", "told"), [(None, 7.0), (0.0, 0), (inf, "inf")])
async def test_limits_tell_the_time_in_force_for_the_token(hold_s, told):
    async with product(callers=callers(hold_s), settings=Settings(hold_status_s=7.0)) as (_, _, client):
        limits = (await client.get("/v1/limits")).json()
        others = (await client.get("/v1/limits", headers=CHAT)).json()
    assert (limits["hold_status_s"], others["hold_status_s"]) == (told, 7.0)
