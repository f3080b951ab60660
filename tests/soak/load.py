"""Clients that ask without end, and remember every answer whose head they saw."""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import dataclass, field

import httpx2 as httpx

from tests.fakes.waiting import until

OURS = "x-fairlane-request-id"


@dataclass(slots=True)
class Load:
    """Some clients of one tenant. ``url`` may change at any time; "" lets them wait."""

    secret: str
    model: str
    url: str = ""
    rng: random.Random = field(default_factory=lambda: random.Random(5))
    begun: set[str] = field(default_factory=set)  # our ids of answers whose head came
    whole: set[str] = field(default_factory=set)  # of those that came to their end
    refused: dict[int, int] = field(default_factory=dict)  # by status
    broken: int = 0
    pause_s: float = 0.0  # between two requests of one client
    names: itertools.count = field(default_factory=itertools.count)

    async def run(self, clients: int) -> None:
        """Ask until cancelled."""
        headers = {"authorization": f"Bearer {self.secret}"}
        limits = httpx.Limits(max_connections=clients)
        async with (
            httpx.AsyncClient(headers=headers, timeout=30, limits=limits) as client,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(clients):
                group.create_task(self._ask_on(client))

    async def another_head(self, patience_s: float = 20.0) -> None:
        """Wait until one more answer has begun."""
        known = len(self.begun)
        await until(lambda: len(self.begun) > known, patience_s)

    async def _ask_on(self, client: httpx.AsyncClient) -> None:
        while True:
            if not self.url:
                await asyncio.sleep(0.01)
                continue
            try:
                await self.ask(client, self.rng.choice([1, 3, 10, 60]), stream=self.rng.random() < 0.5)
            except httpx.HTTPError:
                self.broken += 1
                await asyncio.sleep(0.02)
            await asyncio.sleep(self.pause_s)

    async def ask(self, client: httpx.AsyncClient, tokens: int, *, stream: bool) -> None:
        """One request, with a name of the client's own."""
        body = {"model": self.model, "max_tokens": tokens, "stream": stream}
        body["messages"] = [{"role": "user", "content": "Hello"}]
        at = f"{self.url}/v1/chat/completions"
        name = {"x-request-id": f"client-{next(self.names) % 50}"}  # some of them twice
        async with client.stream("POST", at, json=body, headers=name) as answer:
            if answer.status_code != 200:
                self.refused[answer.status_code] = self.refused.get(answer.status_code, 0) + 1
                return
            self.begun.add(answer.headers[OURS])
            text = await answer.aread()
            if not stream or text.endswith(b"data: [DONE]\n\n"):
                self.whole.add(answer.headers[OURS])
