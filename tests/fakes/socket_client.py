"""A WebSocket client of ``ws /v1/chat/completions``, by the `websockets` library.

async with talk(served.url, secret) as socket:
    await ask(socket, max_tokens=5)
    frames = await until_done(socket)
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.fakes.gateway import MODEL

PATH = "/v1/chat/completions"
PATIENCE_S = 5


@asynccontextmanager
async def talk(url: str, secret: str = "", **options):
    headers = {"authorization": f"Bearer {secret}"} if secret else {}
    async with connect(url.replace("http", "ws", 1) + PATH, additional_headers=headers, **options) as socket:
        yield socket


async def ask(socket, model: str = MODEL, request_id: str = "", **members) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **members}
    await socket.send(json.dumps({"type": "request", "id": request_id, "body": body}))


async def frame(socket) -> dict:
    async with asyncio.timeout(PATIENCE_S):
        return json.loads(await socket.recv())


async def until_done(socket) -> list[dict]:
    """The frames of one request."""
    frames = [await frame(socket)]
    while frames[-1]["type"] != "done":
        frames.append(await frame(socket))
    return frames


async def until(socket, kind: str) -> dict:
    """The next frame of this type."""
    while (found := await frame(socket))["type"] != kind:
        pass
    return found


async def closed_with(socket) -> int:
    """The code with which the server closes, whatever it says before."""
    with suppress(ConnectionClosed):
        while True:
            await frame(socket)
    return socket.close_code


def kinds(frames: list[dict]) -> list[str]:
    """The types of frames, each once where several of one follow each other."""
    found = [each["type"] for each in frames]
    return [kind for n, kind in enumerate(found) if n == 0 or found[n - 1] != kind]
