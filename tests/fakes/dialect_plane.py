"""A gateway before an engine that speaks every dialect, and the clients that do.

async with product() as (engine, gateway, client), anthropic_sdk(gateway) as sdk: ...
"""

from __future__ import annotations

from contextlib import asynccontextmanager

import anthropic
import httpx2 as httpx
import openai

from scheduling.engines.endpoint import Endpoint
from tests.fakes.dialect_answers import WORDS
from tests.fakes.dialect_engine import dialect_engine
from tests.fakes.gateway import MODEL, Cast, running_gateway

CAST = Cast.of("research", "chat")
SECRET = CAST.secrets["research"]
HELLO = [{"role": "user", "content": "hello"}]
MESSAGES, RESPONSES, COUNT = "/v1/messages", "/v1/responses", "/v1/messages/count_tokens"
BODIES = {
    MESSAGES: {"model": MODEL, "messages": HELLO, "max_tokens": 9},
    RESPONSES: {"model": MODEL, "input": "hello"},
    COUNT: {"model": MODEL, "messages": HELLO},
    "/v1/tokenize": {"model": MODEL, "prompt": "hello " * 500},
    "/v1/detokenize": {"model": MODEL, "tokens": [1] * 500},
    "/v1/rerank": {"model": MODEL, "query": "who", "documents": ["a"]},
    "/v1/score": {"model": MODEL, "text_1": "a", "text_2": "b"},
}
TEXT = "".join(WORDS)


@asynccontextmanager
async def product(policy=None, engine=None, callers=None, **gateway):
    """An engine, a gateway before it, and an HTTP client that knows its API token."""
    async with (
        dialect_engine(**(engine or {})) as fake,
        running_gateway(
            policy or CAST.policy(),
            callers or CAST.callers(),
            {"gpu-0": Endpoint("gpu-0", fake.url, "vllm")},
            **gateway,
        ) as served,
        httpx.AsyncClient(base_url=served.url, headers={"x-api-key": SECRET}, timeout=10) as client,
    ):
        yield fake, served, client


def openai_sdk(served, **options):
    return openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key=SECRET, max_retries=0, **options)


def anthropic_sdk(served, secret=SECRET, **options):
    return anthropic.AsyncAnthropic(base_url=served.url, api_key=secret, max_retries=0, **options)
