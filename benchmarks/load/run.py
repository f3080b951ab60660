"""One run: one scenario against one gateway, and its figures."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic_ns

from benchmarks.load import process_tree, shapes
from benchmarks.load.clients import Crowd, Tally
from benchmarks.load.engine import Engine, Script
from benchmarks.load.loop import Spinning

WARM_S = 0.3
LOOK_S = 0.05
MOST_TIMES = 5  # a slow gateway is measured so many times longer than asked, at the most
ANSWERS_EACH = 5  # that every client should get
SETTLE_S = 0.2  # for a gateway to put away what was hung up on
CANCEL_S = 5.0  # the longest it may take over that
BEGIN_S = 10.0  # for all idle streams to begin
IDLE_GAP_NS = 600 * 10**9


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is asked, by how many connections, and how it is answered."""

    name: str
    connections: int
    stream: bool = False
    chunks: Sequence[int] = (64,)
    gap_ms: float = 0.0
    rate: float = 0.0  # requests per second in an open loop; 0: a closed loop
    prompt_bytes: Sequence[int] = (160,)
    ramp_s: float = 0.0
    idle: bool = False  # streams that stand still after their first token
    only: Sequence[str] = ()  # for these targets; empty: for all gateways
    slices: int = 1  # that a round is cut into: the host's speed changes within seconds, short turns share it

    @property
    def script(self) -> Script:
        """The engine's part."""
        gap_ns = IDLE_GAP_NS if self.idle else round(self.gap_ms * 1e6)
        return Script(self.stream, self.chunks, gap_ns, self.connections if self.gap_ms else 0)


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how one gateway is asked. Connections take the headers in turn."""

    name: str
    port: int
    pid: int  # 0: the engine itself
    headers: Sequence[dict[str, str]] = ({},)
    model: str = "bench"
    path: str = "/v1/chat/completions"
    most_connections: int = 10_000  # more would only fill its own queue

    def requests(self, scenario: Scenario) -> list[bytes]:
        """All different requests of a scenario."""
        count = max(len(self.headers), len(scenario.prompt_bytes))
        bodies = [shapes.body(self.model, size, stream=scenario.stream) for size in scenario.prompt_bytes]
        return [
            shapes.request(self.path, self.headers[n % len(self.headers)], bodies[n % len(bodies)])
            for n in range(count)
        ]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run showed. CPU is the gateway's; ``core_share`` near 1 says that it was the limit."""

    seconds: float
    requests: int
    errors: int
    first_error: str
    rps: float
    p50_ms: float
    p99_ms: float
    cpu_us: float  # per request
    core_share: float
    rss_mib: float
    chunks_s: float = 0.0
    cpu_us_chunk: float = 0.0
    first_token_p50_ms: float = 0.0
    first_token_p99_ms: float = 0.0
    delay_p50_ms: float = 0.0
    delay_p99_ms: float = 0.0
    kib_per_stream: float = 0.0
    engine_chunks_s: float = 0.0


class Lab:
    """The engine, the busy loop, and one crowd of clients at a time."""

    def __init__(self) -> None:
        self.engine = Engine()

    async def run(self, scenario: Scenario, target: Target, seconds: float) -> Figures:
        """Warm up, measure for so many seconds, hang up."""
        self.engine.play(scenario.script)
        crowd = Crowd(target.port, target.requests(scenario), scenario.rate)
        gc.collect()
        gc.disable()
        try:
            with Spinning() as loop:
                loop.steps += [self.engine.step, crowd.step]
                try:
                    return await self._measure(scenario, target, crowd, seconds)
                finally:
                    crowd.close()
                    await self._settle()
        finally:
            gc.enable()

    async def _settle(self) -> None:
        """Let the gateway cancel what nobody waits for; what it leaves is cut off."""
        await asyncio.sleep(SETTLE_S)
        until_ns = monotonic_ns() + round(CANCEL_S * 1e9)
        while self.engine.streaming and monotonic_ns() < until_ns:
            await asyncio.sleep(SETTLE_S)
        self.engine.play(Script(stream=False))

    async def _measure(self, scenario: Scenario, target: Target, crowd: Crowd, seconds: float) -> Figures:
        before_bytes = process_tree.rss_bytes(target.pid) if target.pid else 0
        if not await crowd.connect(scenario.connections):
            return figures_of(crowd.tally, 1, 0)
        crowd.begin(scenario.ramp_s)
        await asyncio.sleep(scenario.ramp_s)
        if scenario.idle:
            return await self._measure_idle(scenario, target, crowd, before_bytes)
        await _answers(crowd, WARM_S, WARM_S + MOST_TIMES * seconds, _wanted(scenario, 1))
        crowd.tally = tally = Tally()
        sent = self.engine.sent_chunks
        cpu_ns, began_ns = _cpu_ns(target), monotonic_ns()
        await _answers(crowd, seconds, MOST_TIMES * seconds, _wanted(scenario, ANSWERS_EACH))
        took_ns, spent_ns = monotonic_ns() - began_ns, _cpu_ns(target) - cpu_ns
        crowd.tally = Tally()
        figures = figures_of(tally, took_ns, spent_ns)
        rss = process_tree.rss_bytes(target.pid) if target.pid else 0
        sent_s = (self.engine.sent_chunks - sent) / took_ns * 1e9
        return replace(figures, rss_mib=rss / 2**20, engine_chunks_s=sent_s)

    async def _measure_idle(
        self, scenario: Scenario, target: Target, crowd: Crowd, before_bytes: int
    ) -> Figures:
        until_ns = monotonic_ns() + round(BEGIN_S * 1e9)
        while crowd.with_token < scenario.connections and monotonic_ns() < until_ns:
            await asyncio.sleep(LOOK_S)
        began = crowd.with_token
        rss = process_tree.rss_bytes(target.pid)
        figures = figures_of(crowd.tally, round(BEGIN_S * 1e9), 0)
        if began < scenario.connections:
            error = figures.first_error or f"only {began} of {scenario.connections} streams began"
            figures = replace(figures, errors=scenario.connections - began, first_error=error)
        kib = (rss - before_bytes) / 1024 / max(1, began)
        return replace(figures, rss_mib=rss / 2**20, kib_per_stream=kib)


def _wanted(scenario: Scenario, each: int) -> int:
    """How many answers make a measurement. Paced streams and open loops need none: their rate is given."""
    return 0 if scenario.gap_ms or scenario.rate else each * scenario.connections


async def _answers(crowd: Crowd, least_s: float, most_s: float, wanted: int) -> None:
    """Wait for this long, and longer if there are too few answers to say anything by."""
    began_ns = monotonic_ns()
    await asyncio.sleep(least_s)
    while crowd.tally.requests < wanted and monotonic_ns() - began_ns < most_s * 1e9:
        await asyncio.sleep(LOOK_S)


def figures_of(tally: Tally, took_ns: int, cpu_ns: int) -> Figures:
    """The tally in the units people compare."""
    took_s, cpu_us = took_ns / 1e9, cpu_ns / 1e3
    return Figures(
        seconds=took_s,
        requests=tally.requests,
        errors=tally.errors,
        first_error=tally.first_error,
        rps=tally.requests / took_s,
        p50_ms=_quantile_ms(tally.answer_ns, 0.5),
        p99_ms=_quantile_ms(tally.answer_ns, 0.99),
        cpu_us=cpu_us / tally.requests if tally.requests else 0.0,
        core_share=cpu_ns / took_ns,
        rss_mib=0.0,
        chunks_s=tally.chunks / took_s,
        cpu_us_chunk=cpu_us / tally.chunks if tally.chunks else 0.0,
        first_token_p50_ms=_quantile_ms(tally.first_token_ns, 0.5),
        first_token_p99_ms=_quantile_ms(tally.first_token_ns, 0.99),
        delay_p50_ms=_quantile_ms(tally.delay_ns, 0.5),
        delay_p99_ms=_quantile_ms(tally.delay_ns, 0.99),
    )


def _quantile_ms(values_ns: list[int], part: float) -> float:
    if not values_ns:
        return 0.0
    ordered = sorted(values_ns)
    return ordered[round(part * (len(ordered) - 1))] / 1e6


def _cpu_ns(target: Target) -> int:
    return process_tree.cpu_ns(target.pid) if target.pid else 0
