"""Plays a trial's arrivals over HTTP at their time, and notes what the clients see."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from gateway.asking import Asker, Question
from gateway.experiments.engines import lose_metrics
from gateway.experiments.onlooker import Onlooker
from gateway.experiments.stage import Stage
from scheduling.core.outcome import Outcome
from scheduling.core.usage import Usage
from scheduling.simulation.experiments.trial import Observation, Trial, observe
from scheduling.simulation.record import Served
from scheduling.simulation.scenario import Span, WeightChange

GRACE_S = 1.0  # after the last arrival, for those that are nearly done; then all clients leave


class Performance:
    """One trial on the product, from the clients' side."""

    def __init__(self, trial: Trial, stage: Stage, asker: Asker) -> None:
        self._trial = trial
        self._stage = stage
        self._asker = asker
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()
        self._served: list[Served] = []
        self._failed = 0

    async def run(self) -> Observation:
        """Send everything, wait a little for the last answers, and leave."""
        workload = self._trial.workload
        onlooker = Onlooker(self._stage.urls_of(self._trial))
        watching = asyncio.create_task(onlooker.watch())
        aside = [asyncio.create_task(self._reweigh(change)) for change in workload.weight_changes]
        aside += [asyncio.create_task(self._black_out(span)) for span in workload.blackouts]
        asked: list[asyncio.Task[None]] = []
        try:
            await self._send(asked)
            await self._until(workload.to_ms + 1000 * GRACE_S, asked)
            await onlooker.look()
        finally:
            ended_ms = self._now_ms()
            await _gone((*asked, *aside, watching))
        for task in (*aside, watching):
            if not task.cancelled() and (error := task.exception()):
                raise error
        inside = onlooker.seen(sum(_left_streaming(one) for one in self._served))
        return observe(self._trial, self._served, ended_ms, inside, self._failed)

    async def _send(self, asked: list[asyncio.Task[None]]) -> None:
        for place, arrival in enumerate(self._trial.workload.arrivals):
            if (wait_s := arrival.at_ms / 1000 - self._now_ms() / 1000) > 0:
                await asyncio.sleep(wait_s)
            served = Served(replace(arrival, at_ms=round(self._now_ms())))
            self._served.append(served)
            asked.append(asyncio.create_task(self._ask(served, self._stage.model_of(self._trial, place))))

    async def _until(self, end_ms: float, asked: Iterable[asyncio.Task[None]]) -> None:
        left_s = (end_ms - self._now_ms()) / 1000
        if pending := [task for task in asked if not task.done()]:
            await asyncio.wait(pending, timeout=max(0.0, left_s))

    async def _ask(self, served: Served, model: str) -> None:
        arrival, usage = served.arrival, Usage()
        question = Question(
            model,
            arrival.prompt_tokens,
            arrival.completion_tokens,
            self._stage.class_of(self._trial, arrival.priority_class),
            arrival.streams,
            arrival.prefixes,
        )
        patience_s = None if arrival.leaves_after_ms is None else arrival.leaves_after_ms / 1000
        try:
            async with asyncio.timeout(patience_s):
                answered = await self._asker.ask(
                    arrival.tenant, question, usage, partial(self._first, served)
                )
            self._failed += not answered
        except TimeoutError:
            waited = served.first_token_ms is None
            served.outcome = Outcome.CLIENT_GONE_QUEUED if waited else Outcome.CLIENT_GONE_STREAMING
        finally:  # a client that leaves has what it read until then
            if served.first_token_ms is not None:
                served.ended_ms = self._now_ms()
                served.completion_tokens = max(1, usage.completion_tokens)

    def _first(self, served: Served) -> None:
        served.first_token_ms = self._now_ms()

    async def _reweigh(self, change: WeightChange) -> None:
        await asyncio.sleep(max(0.0, (change.at_ms - self._now_ms()) / 1000))
        await asyncio.to_thread(self._stage.reweigh, change.tenant, change.weight)

    async def _black_out(self, span: Span) -> None:
        urls = self._stage.urls_of(self._trial)
        await asyncio.sleep(max(0.0, (span.from_ms - self._now_ms()) / 1000))
        try:
            for url in urls:
                await asyncio.to_thread(lose_metrics, url, lost=True)
            await asyncio.sleep(max(0.0, (span.to_ms - self._now_ms()) / 1000))
        finally:
            for url in urls:
                await asyncio.to_thread(lose_metrics, url, lost=False)

    def _now_ms(self) -> float:
        return 1000 * (self._loop.time() - self._began_s)


async def perform(trial: Trial, stage: Stage, gateway_url: str) -> Observation:
    """Play the trial through the gateway's `/v1`."""
    asker = Asker(gateway_url, stage.secrets)
    try:
        return await Performance(trial, stage, asker).run()
    finally:
        await asker.close()


def _left_streaming(one: Served) -> bool:
    return one.outcome is Outcome.CLIENT_GONE_STREAMING


async def _gone(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
