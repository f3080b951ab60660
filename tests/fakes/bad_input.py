"""Requests that no client should send, as bytes, and the product's own uvicorn that hears them.

async with strict_gateway() as served:
    answer = await say(served, raw(body=b"{"))
    assert_nothing_is_held(served)
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from config.protocol import BoundedGatewayHttp, HeadBounds
from gateway.settings import Settings
from scheduling.core.policy import REQUESTS_PER_MINUTE, TOKENS_PER_DAY
from tests.fakes.faulty import faulty_engine, says
from tests.fakes.faulty_gateway import WHOLE
from tests.fakes.gateway import MODEL, Cast, running_gateway
from tests.fakes.waiting import until

CAST = Cast.of("research")
SECRET = CAST.secrets["research"]
AUTH = f"authorization: Bearer {SECRET}".encode()
CHAT = b"POST /v1/chat/completions HTTP/1.1"
GOOD = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
QUOTAS = {REQUESTS_PER_MINUTE: 1_000_000, TOKENS_PER_DAY: 1_000_000_000}
BODY_BYTES = 200_000
PATIENCE_S = 0.25  # for headers, for bodies and for readers
GOOD_ENGINE = says(WHOLE)
HEAD_BOUNDS = HeadBounds(read_s=PATIENCE_S, size_bytes=16 * 1024, headers=100, connections=50)
SETTINGS = Settings(body_bytes=BODY_BYTES, body_read_s=PATIENCE_S, slow_client_s=PATIENCE_S)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back until the connection was closed or the answer was whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict:
        """The error; it must have OpenAI's shape, or that of the Messages API, which has no code."""
        said = json.loads(self.body)
        error = said["error"]
        if "type" in said:
            assert set(said) == {"type", "error", "request_id"}
            assert set(error) == {"type", "message"}
            error["code"] = error["type"]
        else:
            assert set(error) == {"message", "type", "param", "code"}
        assert self.headers["content-type"] == "application/json"
        assert self.headers["x-request-id"]
        return error


@asynccontextmanager
async def strict_gateway(script=GOOD_ENGINE, *, bounds=HEAD_BOUNDS, settings=SETTINGS):
    """A gateway behind the protocol of config/web.py, before an engine that answers whatever it is asked."""

    policy = CAST.policy(quotas=QUOTAS)
    async with faulty_engine(script) as engine:
        urls = {"gpu-0": f"http://127.0.0.1:{engine.port}"}
        options = {"settings": settings, "protocol": partial(BoundedGatewayHttp, bounds)}
        async with running_gateway(policy, CAST.callers(), urls, **options) as served:
            yield served


def raw(line=CHAT, *headers, body=None, length=True, auth=AUTH, host=b"host: x"):
    """A request. Headers that are None are left out."""
    body = json.dumps(GOOD).encode() if body is None else body
    lines = [line, host, auth, *headers]
    if length:
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(each for each in lines if each is not None) + b"\r\n\r\n" + body


async def say(served, data: bytes) -> Answer:
    """Send the bytes and read one answer."""
    reader, writer = await connect(served)
    try:
        writer.write(data)
        return await read_answer(reader)
    finally:
        writer.close()


async def connect(served):
    return await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))


async def read_answer(reader) -> Answer:
    async with asyncio.timeout(5):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
    return Answer(int(status.split()[1]), headers, body)


async def assert_nothing_is_held(served) -> None:
    """No request, seat, place in line, quota or record is left open, and no connection."""
    gateway = served.gateway
    await until(lambda: not len(gateway.pulse.clients))
    await until(lambda: not served.server.server_state.connections)
    assert gateway.books.unsettled == 0
    assert all(view.queued == view.in_flight == 0 for view in served.dispatcher.view())
    quotas, key = gateway._ledger.quotas, ("tenant", "research")
    assert quotas.queued(key) == 0
    await until(lambda: quotas.used(key, TOKENS_PER_DAY, int(time.time())) == _tokens(served))


def _tokens(served) -> int:
    """What the requests that an engine worked on have used; the others hold nothing."""
    return sum(each.prompt_tokens + each.completion_tokens for each in served.records if each.cost)
