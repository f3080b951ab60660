"""A line that can be looked at: a gateway before an engine of one seat, and two tenants.

async with line() as (served, mine, theirs):
    running, waiting = await one_runs_one_waits(served, mine)
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import httpx2 as httpx

from tests.fakes.engine import running_engine
from tests.fakes.gateway import MODEL, Cast, running_gateway
from tests.fakes.waiting import until

CAST = Cast.of("research", "chat")
CHAT = "/v1/chat/completions"
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 400}
SHORT = {**BODY, "max_tokens": 2}


def bearer(tenant):
    return {"authorization": f"Bearer {CAST.secrets[tenant]}"}


@asynccontextmanager
async def line(settings=None, callers=None, time_scale=1, **policy):
    """A gateway before an engine of one seat, and a client of each tenant."""
    rules = CAST.policy(**{"max_in_flight": 1, **policy})
    async with (
        running_engine(model=MODEL, time_scale=time_scale) as engine,
        running_gateway(rules, callers or CAST.callers(), {"gpu-0": engine.url}, settings=settings) as served,
        httpx.AsyncClient(base_url=served.url, headers=bearer("research"), timeout=10) as mine,
        httpx.AsyncClient(base_url=served.url, headers=bearer("chat"), timeout=10) as theirs,
    ):
        yield served, mine, theirs


def send(client, body, **headers):
    return asyncio.create_task(client.post(CHAT, json=body, headers=headers))


async def one_runs_one_waits(served, mine, *, stream=False):
    running = send(mine, {**BODY, "stream": stream}, **{"x-request-id": "first"})
    await until(lambda: [view.in_flight for view in served.dispatcher.view()] == [1])
    waiting = send(mine, SHORT, **{"x-request-id": "second"})
    await until(lambda: [view.queued for view in served.dispatcher.view()] == [1])
    return running, waiting
