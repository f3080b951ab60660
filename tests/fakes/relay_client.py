"""A client that calls one backend through a relay, and remembers all that came of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from gateway.failures import BackendFailure
from gateway.relay import EngineCall, Relay, RelayOptions, Reply
from scheduling.core.usage import Usage
from scheduling.engines.endpoint import Endpoint
from tests.fakes.faulty import FaultyEngine

TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":34}}\n\n'
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error":{"message":"out of memory","code":500}}\n\n'
JSON = b'{"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":34}}'

STREAM = EngineCall("r1", "/v1/chat/completions", (b'{"stream":', b"true}"), stream=True, strip_usage=True)
PLAIN = EngineCall("r1", "/v1/chat/completions", (b"{}",), stream=False, strip_usage=False)
PATIENT = RelayOptions(connect_s=5, first_byte_s=5, stall_s=5, unread_bytes=64 * 1024)
BRIEF_S = 0.15  # for the one limit that a test waits for: a slow machine must not trip another


class Client:
    """One caller, one backend."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.usage = Usage(prompt_tokens=5)
        self.first_tokens = 0
        self.got = b""

    def use(self, engine: FaultyEngine, url: str = "http://127.0.0.1:{port}", **options: str) -> None:
        self.relay.set_endpoints({"gpu-0": Endpoint("gpu-0", url.format(port=engine.port), **options)})

    def open(self, call: EngineCall = STREAM):
        return self.relay.open("gpu-0", call, self.usage, self._first_token)

    def _first_token(self) -> None:
        self.first_tokens += 1

    async def call(self, call: EngineCall = STREAM) -> Reply:
        async with self.open(call) as reply:
            async for data in reply:
                self.got += data
        return reply

    async def failure(self, call: EngineCall = STREAM) -> BackendFailure:
        with pytest.raises(BackendFailure) as caught:
            await self.call(call)
        assert caught.value.backend == "gpu-0"
        return caught.value


@asynccontextmanager
async def relay_client(**limits: float) -> AsyncIterator[Client]:
    """A client whose relay is patient, but for these limits; it is closed at the end."""
    relay = Relay(replace(PATIENT, **limits))
    try:
        yield Client(relay)
    finally:
        await relay.close()
