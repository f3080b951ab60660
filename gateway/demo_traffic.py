"""Drives demo traffic through the gateway's own door."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping

from gateway.asking import Asker, Question
from gateway.demo import GREEDY, QUIET

GREEDY_OPEN = 64  # requests the greedy tenant keeps open: several times the demo engines' seats
QUIET_EVERY_S = 1.0
GREEDY_PROMPT_TOKENS, GREEDY_TOKENS = (50, 400), (60, 260)  # of prompt and completion, from and to
QUIET_PROMPT_TOKENS, QUIET_TOKENS = (30, 30), (15, 40)
PAUSE_AFTER_REFUSAL_S = 1.0


async def drive(
    url: str, model: str, secrets: Mapping[str, str], wanted: Callable[[], Awaitable[bool]]
) -> int:
    """Send requests until ``wanted`` says no; how many were answered in full."""
    asker = Asker(url, secrets)
    crowd = Crowd(asker, model)
    try:
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(crowd.keep_asking(GREEDY)) for _ in range(GREEDY_OPEN)]
            workers += [group.create_task(crowd.ask_now_and_then(tenant)) for tenant in QUIET]
            while await wanted():  # noqa: ASYNC110 - asks another process, which sends no event
                await asyncio.sleep(0.5)
            for worker in workers:
                worker.cancel()
    finally:
        await asker.close()
    return crowd.answered


class Crowd:
    """One greedy tenant that always has more to ask, and quiet ones that ask once a second."""

    def __init__(self, asker: Asker, model: str) -> None:
        self.answered = 0
        self._asker = asker
        self._model = model
        self._dice = random.Random()  # noqa: S311 - lengths of demo requests, not secrets

    async def keep_asking(self, tenant: str) -> None:
        """Ask again as soon as the answer is there."""
        while True:
            if not await self._ask(tenant, GREEDY_PROMPT_TOKENS, GREEDY_TOKENS):
                await asyncio.sleep(PAUSE_AFTER_REFUSAL_S)

    async def ask_now_and_then(self, tenant: str) -> None:
        """Ask once a second, whether or not the last answer is there."""
        async with asyncio.TaskGroup() as asked:
            while True:
                asked.create_task(self._ask(tenant, QUIET_PROMPT_TOKENS, QUIET_TOKENS))
                await asyncio.sleep(QUIET_EVERY_S * self._dice.uniform(0.5, 1.5))

    async def _ask(self, tenant: str, prompt_tokens: tuple[int, int], max_tokens: tuple[int, int]) -> bool:
        question = Question(self._model, self._dice.randint(*prompt_tokens), self._dice.randint(*max_tokens))
        answered = await self._asker.ask(tenant, question)
        self.answered += answered
        return answered


def until(until_s: float, go_on: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    """``go_on``, but never past ``until_s`` (Unix time)."""

    async def wanted() -> bool:
        return time.time() < until_s and await go_on()

    return wanted
