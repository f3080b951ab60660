"""A gateway that hears WebSockets, and answers of engines for it."""

from __future__ import annotations

from contextlib import asynccontextmanager

from scheduling.core.policy import REQUESTS_PER_MINUTE
from tests.fakes.faulty import CHUNKED_HEAD, chunk, faulty_engine, stream
from tests.fakes.faulty_gateway import CAST, EVENT, FINISH
from tests.fakes.gateway import running_gateway

USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
GOOD = stream(EVENT, EVENT, FINISH.replace(b"data: [DONE]", USAGE + b"data: [DONE]"))
BEGUN = CHUNKED_HEAD + chunk(EVENT) + chunk(EVENT)


@asynccontextmanager
async def gateway(script, *, quotas=None, settings=None, **backend):
    """A gateway that hears WebSockets, before an engine that plays a script."""
    policy = CAST.policy(quotas=quotas, refusing=[REQUESTS_PER_MINUTE], **backend)
    options = {"settings": settings, "ws": "websockets-sansio"}
    async with faulty_engine(script) as engine:
        urls = {"gpu-0": f"http://127.0.0.1:{engine.port}"}
        async with running_gateway(policy, CAST.callers(), urls, **options) as served:
            yield served, engine
