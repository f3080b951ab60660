"""Batches for tests: their files, and a whole scene of gateway, engine and clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx
from django.db import connection
from openai import AsyncOpenAI

from gateway.batches import runner
from gateway.batches.models import BatchResult
from tests.fakes.engine import running_engine
from tests.fakes.plane import MODEL, Plane, read, running_plane

CHAT = "/v1/chat/completions"


def line(custom_id: str, *, url: str = CHAT, method: str = "POST", **body: Any) -> dict[str, Any]:
    """One request of a batch, as a client writes it."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5, **body}
    return {"custom_id": custom_id, "method": method, "url": url, "body": asked}


def jsonl(*rows: dict[str, Any]) -> bytes:
    """A file of these requests."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def read_jsonl(data: bytes) -> list[dict[str, Any]]:
    """The rows of a file."""
    return [json.loads(row) for row in data.splitlines()]


@dataclass(slots=True)
class BatchScene:
    """A gateway that serves, with an engine behind it and a client for each tenant."""

    plane: Plane
    engine: Any
    secrets: dict[str, str]
    clients: dict[str, AsyncOpenAI]

    async def upload(self, tenant: str, *rows: dict[str, Any]) -> str:
        """The id of a new file with these requests."""
        file = await self.clients[tenant].files.create(file=("batch.jsonl", jsonl(*rows)), purpose="batch")
        return file.id

    async def batch(self, tenant: str, *rows: dict[str, Any], endpoint: str = CHAT, **more: Any) -> Any:
        """A new batch of these requests."""
        file_id = await self.upload(tenant, *rows)
        made = self.clients[tenant].batches
        return await made.create(input_file_id=file_id, endpoint=endpoint, completion_window="24h", **more)

    async def rows_of(self, tenant: str, file_id: str) -> list[dict[str, Any]]:
        """What is in a file."""
        return read_jsonl((await self.clients[tenant].files.content(file_id)).content)


@asynccontextmanager
async def batch_scene(
    *tenants: str, seats: int = 4, rules: Any = None, **engine: Any
) -> AsyncIterator[BatchScene]:
    """Tenants (chat, shop) with clients; ``rules`` are options by tenant, the rest the engine's."""
    names = tenants or ("chat", "shop")
    async with (
        running_engine(model=MODEL, **{"time_scale": 20, **engine}) as running,
        running_plane() as plane,
        AsyncExitStack() as stack,
    ):
        options = {name: (rules or {}).get(name, {}) for name in names}
        secrets = await plane.setup([running], options, seats=seats)
        clients = {
            name: await stack.enter_async_context(
                AsyncOpenAI(base_url=f"{plane.url}/v1", api_key=secrets[name], max_retries=0)
            )
            for name in names
        }
        yield BatchScene(plane, running, secrets, clients)


async def slices(scene, knobs, most: int = 20) -> None:
    """Run slices until none is due."""
    knobs["FAIRLANE_GATEWAY_URL"] = scene.plane.url
    for _ in range(most):
        if not await asyncio.to_thread(one_slice):
            return


def one_slice() -> bool:
    """In a thread of its own, as a worker's process is."""
    try:
        return runner.run_slice()
    finally:
        connection.close()


async def post(scene, body, tenant="chat") -> dict:
    """The error that a batch gets."""
    word = {"authorization": f"Bearer {scene.secrets[tenant]}"}
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{scene.plane.url}/v1/batches", json=body, headers=word)
    return answer.json()["error"]


async def ask(scene, tenant: str, priority_class: str) -> str:
    """One chat request of this class; its text."""
    answer = await scene.clients[tenant].chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Hello"}],
        max_tokens=2,
        extra_headers={"x-priority-class": priority_class},
    )
    return answer.choices[0].message.content


async def begun(batch_id: str, results: int = 1) -> None:
    """Wait until a batch has so many results."""
    async with asyncio.timeout(20):
        while await read(BatchResult.objects.filter(batch__public_id=batch_id).count) < results:
            await asyncio.sleep(0.02)
