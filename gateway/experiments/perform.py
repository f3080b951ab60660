"""Plays a trial's arrivals over HTTP at their time, and notes what the clients see."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from gateway.asking import Asker, Question
from gateway.experiments.stage import NAME, Stage
from scheduling.core.usage import Usage
from scheduling.engines.endpoint import Endpoint
from scheduling.engines.scrape import Scraper
from scheduling.simulation.experiments.trial import Observation, Trial, observe
from scheduling.simulation.record import Served
from scheduling.simulation.scenario import WeightChange

GRACE_S = 2.0  # after the last arrival, for those that are nearly done; then all clients leave
LOOK_EVERY_S = 0.25  # at the engine's own queue
LOOK_TIMEOUT_S = 1.0


class Performance:
    """One trial on the product, from the clients' side."""

    def __init__(self, trial: Trial, stage: Stage, asker: Asker) -> None:
        self._trial = trial
        self._stage = stage
        self._asker = asker
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()
        self._served: list[Served] = []
        self._queue_max = 0
        self._failed = 0

    async def run(self, engine_url: str) -> Observation:
        """Send everything, wait a little for the last answers, and leave."""
        aside = [asyncio.create_task(self._look(engine_url))]
        aside += [
            asyncio.create_task(self._reweigh(change)) for change in self._trial.workload.weight_changes
        ]
        asked: list[asyncio.Task[None]] = []
        try:
            await self._send(asked)
            await self._until(self._trial.workload.to_ms + 1000 * GRACE_S, asked)
        finally:
            ended_ms = self._now_ms()
            await _gone((*asked, *aside))
        for change in aside[1:]:
            if not change.cancelled() and (error := change.exception()):
                raise error
        return observe(self._trial, self._served, ended_ms, self._queue_max, self._failed)

    async def _send(self, asked: list[asyncio.Task[None]]) -> None:
        for arrival in self._trial.workload.arrivals:
            if (wait_s := arrival.at_ms / 1000 - self._now_ms() / 1000) > 0:
                await asyncio.sleep(wait_s)
            served = Served(replace(arrival, at_ms=round(self._now_ms())))
            self._served.append(served)
            asked.append(asyncio.create_task(self._ask(served)))

    async def _until(self, end_ms: float, asked: Iterable[asyncio.Task[None]]) -> None:
        left_s = (end_ms - self._now_ms()) / 1000
        if pending := [task for task in asked if not task.done()]:
            await asyncio.wait(pending, timeout=max(0.0, left_s))

    async def _ask(self, served: Served) -> None:
        arrival, usage = served.arrival, Usage()
        question = Question(
            NAME,
            arrival.prompt_tokens,
            arrival.completion_tokens,
            self._stage.class_of(self._trial, arrival.priority_class),
        )
        try:
            answered = await self._asker.ask(arrival.tenant, question, usage, partial(self._first, served))
            self._failed += not answered
        finally:  # a client that leaves has what it read until then
            if served.first_token_ms is not None:
                served.ended_ms = self._now_ms()
                served.completion_tokens = max(1, usage.completion_tokens)

    def _first(self, served: Served) -> None:
        served.first_token_ms = self._now_ms()

    async def _reweigh(self, change: WeightChange) -> None:
        await asyncio.sleep(max(0.0, (change.at_ms - self._now_ms()) / 1000))
        await asyncio.to_thread(self._stage.reweigh, change.tenant, change.weight)

    async def _look(self, engine_url: str) -> None:
        scraper = Scraper()
        endpoint = Endpoint(NAME, engine_url, engine="vllm")
        try:
            while True:
                load = await asyncio.to_thread(scraper.read, endpoint, LOOK_TIMEOUT_S)
                self._queue_max = max(self._queue_max, load.waiting or 0)
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            scraper.close()

    def _now_ms(self) -> float:
        return 1000 * (self._loop.time() - self._began_s)


async def perform(trial: Trial, stage: Stage, gateway_url: str, engine_url: str) -> Observation:
    """Play the trial through the gateway's `/v1`."""
    asker = Asker(gateway_url, stage.secrets)
    try:
        return await Performance(trial, stage, asker).run(engine_url)
    finally:
        await asker.close()


async def _gone(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
