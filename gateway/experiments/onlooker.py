"""Looks at a trial's engines while it is played."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.experiments.engines import State, look
from scheduling.simulation.experiments.trial import Inside

LOOK_EVERY_S = 0.25


class Onlooker:
    """What the engines showed from the first look to the last."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls
        self._first: list[State] = []
        self._last: list[State] = []
        self._queue_max = 0
        self._held_max = 0

    async def watch(self) -> None:
        """Look every now and then, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Look once. Raises OSError when an engine does not answer."""
        states = list(await asyncio.gather(*(asyncio.to_thread(look, url) for url in self._urls)))
        self._first = self._first or states
        self._last = states
        self._queue_max = max(self._queue_max, *(state.waiting for state in states))
        self._held_max = max(self._held_max, sum(state.running + state.waiting for state in states))

    def seen(self, left_streaming: int) -> Inside:
        """All looks together. So many clients left in the middle of their answers: of those no one waited."""
        pairs = list(zip(self._first, self._last, strict=True))
        aborted = sum(last.aborted - first.aborted for first, last in pairs)
        return Inside(
            queue_max=self._queue_max,
            held_max=self._held_max,
            preemptions=sum(last.preemptions - first.preemptions for first, last in pairs),
            cached_tokens=sum(last.cached_tokens - first.cached_tokens for first, last in pairs),
            aborted=max(0, aborted - left_streaming),
        )
