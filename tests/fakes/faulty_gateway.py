"""Faulty engines behind a real gateway, and a raw client before it."""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import asynccontextmanager

import httpx2 as httpx

from tests.fakes.faulty import answer, faulty_engine, stream
from tests.fakes.gateway import MODEL, Cast, running_gateway

CAST = Cast.of("research")
SECRET = CAST.secrets["research"]
AUTH = {"authorization": f"Bearer {SECRET}"}
CHAT = "/v1/chat/completions"
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
STREAM = {**BODY, "stream": True}
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
GOOD = stream(EVENT, FINISH)
HOUR_MS = 3_600_000
WHOLE = answer(b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}')
BUSY = answer(b'{"error":{"message":"full"}}', "503 Service Unavailable", "retry-after: 0")


@asynccontextmanager
async def gateway(*engines, **options):
    """A gateway before one faulty engine per argument (a script, or several in a tuple)."""
    names = tuple(f"gpu-{number}" for number in range(len(engines)))
    async with _all(engines) as running:
        urls = {name: f"http://127.0.0.1:{one.port}" for name, one in zip(names, running, strict=True)}
        policy = CAST.policy(names, max_in_flight=options.pop("max_in_flight", 8))
        async with running_gateway(policy, CAST.callers(), urls, **options) as served:
            yield served, running


@asynccontextmanager
async def _all(engines, running=()):
    if not engines:
        yield running
        return
    scripts = engines[0] if isinstance(engines[0], tuple) else (engines[0],)
    async with faulty_engine(*scripts) as one, _all(engines[1:], (*running, one)) as every:
        yield every


async def post(served, body):
    async with httpx.AsyncClient(base_url=served.url, headers=AUTH, timeout=10) as client:
        return await client.post(CHAT, json=body)


async def read_raw(served, body, *headers):
    """All bytes of the response until the connection is closed."""
    reader, writer = await send_raw(served, body, *headers)
    async with asyncio.timeout(5):
        data = await reader.read()
    writer.close()
    return data


async def send_raw(served, body, *headers):
    raw = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\n"
    head += "".join(f"{header}\r\n" for header in headers)
    head += f"content-length: {len(raw)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    writer.write(head.encode() + raw)
    return reader, writer


def most_asked(span_s):
    """How often a dead backend may be asked: three times, then after 1 s, 2 s, 4 s and so on."""
    return 3 + int(math.log2(1 + span_s))


def end_patience(served):
    """Let whoever stands in line now have waited there for longer than anybody may."""
    dispatcher, clock_ms = served.dispatcher, served.dispatcher.clock_ms
    dispatcher.clock_ms = lambda: clock_ms() + HOUR_MS
    dispatcher.set_policy(served.gateway.policy)


def in_flight(served):
    return sum(view.in_flight for view in served.dispatcher.view())


def queued(served):
    return sum(view.queued for view in served.dispatcher.view())


def slowly(*parts):
    async def script(peer):
        await peer.request()
        for part in parts:
            await peer.send(part)
            await asyncio.sleep(0.05)

    return script


def stall_then(seconds, *parts):
    async def script(peer):
        while True:
            await peer.request()
            await asyncio.sleep(seconds)
            await peer.send(*parts)

    return script
