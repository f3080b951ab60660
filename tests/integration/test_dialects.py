"""The Messages and the Responses API as clients meet them: real HTTP, an engine that speaks both."""

from __future__ import annotations

from contextlib import asynccontextmanager

import httpx2 as httpx
import pytest

from scheduling.engines.endpoint import Endpoint
from tests.fakes.dialect_engine import dialect_engine
from tests.fakes.gateway import MODEL, Cast, running_gateway

CAST = Cast.of("research", "chat")
SECRET = CAST.secrets["research"]
HELLO = [{"role": "user", "content": "hello"}]
MESSAGE = {"model": MODEL, "messages": HELLO, "max_tokens": 9}
RESPONSE = {"model": MODEL, "input": "hello"}
MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"
BODIES = {MESSAGES: MESSAGE, RESPONSES: RESPONSE}


@asynccontextmanager
async def product(policy=None, engine=None, **gateway):
    """An engine, a gateway before it, and an HTTP client that knows its API token."""
    async with (
        dialect_engine(**(engine or {})) as fake,
        running_gateway(
            policy or CAST.policy(),
            CAST.callers(),
            {"gpu-0": Endpoint("gpu-0", fake.url, "vllm")},
            **gateway,
        ) as served,
        httpx.AsyncClient(base_url=served.url, headers={"x-api-key": SECRET}, timeout=10) as client,
    ):
        yield fake, served, client


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", BODIES)
async def test_an_answer_passes_as_it_is_and_its_usage_is_charged(path, *, stream):
    async with product() as (_, served, client):
        answer = await client.post(path, json={**BODIES[path], "stream": stream})
        (record,) = await served.settled()
    assert answer.status_code == 200
    assert "upon" in answer.text
    assert (record.prompt_tokens, record.cached_tokens, record.completion_tokens) == (12, 8, 4)
    assert (record.endpoint, record.outcome, record.estimated) == (path, "ok", False)
