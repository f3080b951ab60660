"""Drives demo traffic through the gateway's own door, with our own relay as the client."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from uuid import uuid4

from gateway.demo import GREEDY, QUIET
from gateway.failures import BackendFailure
from gateway.relay import EngineCall, Relay, RelayOptions
from scheduling.core.usage import Usage
from scheduling.engines.endpoint import Endpoint

GREEDY_OPEN = 64  # requests the greedy tenant keeps open: several times the demo engines' seats
QUIET_EVERY_S = 1.0
GREEDY_TOKENS = (60, 260)  # completion tokens, from and to
QUIET_TOKENS = (15, 40)
PAUSE_AFTER_REFUSAL_S = 1.0


async def drive(
    url: str, model: str, secrets: Mapping[str, str], wanted: Callable[[], Awaitable[bool]]
) -> int:
    """Send requests until ``wanted`` says no; how many were answered in full."""
    relay = Relay(RelayOptions())
    relay.set_endpoints({tenant: Endpoint(tenant, url, api_key=secret) for tenant, secret in secrets.items()})
    crowd = Crowd(relay, model)
    try:
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(crowd.keep_asking(GREEDY)) for _ in range(GREEDY_OPEN)]
            workers += [group.create_task(crowd.ask_now_and_then(tenant)) for tenant in QUIET]
            while await wanted():  # noqa: ASYNC110 - asks another process, which sends no event
                await asyncio.sleep(0.5)
            for worker in workers:
                worker.cancel()
    finally:
        await relay.close()
    return crowd.answered


class Crowd:
    """One greedy tenant that always has more to ask, and quiet ones that ask once a second."""

    def __init__(self, relay: Relay, model: str) -> None:
        self.answered = 0
        self._relay = relay
        self._model = model
        self._dice = random.Random()  # noqa: S311 - lengths of demo requests, not secrets

    async def keep_asking(self, tenant: str) -> None:
        """Ask again as soon as the answer is there."""
        while True:
            if not await self._ask(
                tenant, 40 * self._dice.randint(5, 40), self._dice.randint(*GREEDY_TOKENS)
            ):
                await asyncio.sleep(PAUSE_AFTER_REFUSAL_S)

    async def ask_now_and_then(self, tenant: str) -> None:
        """Ask once a second, whether or not the last answer is there."""
        async with asyncio.TaskGroup() as asked:
            while True:
                asked.create_task(self._ask(tenant, 120, self._dice.randint(*QUIET_TOKENS)))
                await asyncio.sleep(QUIET_EVERY_S * self._dice.uniform(0.5, 1.5))

    async def _ask(self, tenant: str, prompt_chars: int, max_tokens: int) -> bool:
        body = {
            "model": self._model,
            "stream": True,
            "max_tokens": max_tokens,
            "messages": [{"role": "user", "content": "word " * (prompt_chars // 5)}],
        }
        call = EngineCall(
            request_id=uuid4().hex,
            path="/v1/chat/completions",
            body=(json.dumps(body).encode(),),
            stream=True,
            strip_usage=False,
        )
        try:
            async with self._relay.open(tenant, call, Usage(), lambda: None) as reply:
                async for _ in reply:
                    pass
        except BackendFailure:
            return False
        if reply.status != 200:
            return False
        self.answered += 1
        return True


def until(until_s: float, go_on: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    """``go_on``, but never past ``until_s`` (Unix time)."""

    async def wanted() -> bool:
        return time.time() < until_s and await go_on()

    return wanted
