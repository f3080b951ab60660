"""The running product under a flood: how long each engine's own queue gets, also after one was killed.

    python -m benchmarks.backpressure                  # a table, then one JSON line
    python -m benchmarks.backpressure --seconds 30 --whole 0.5

Two simulated engines, three tenants with far more requests than seats. The
engines' own gauges are read every 20 ms; halfway the first engine is killed
and started again two seconds later.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import urllib3
from openai import APIError, AsyncOpenAI
from urllib3.exceptions import HTTPError

from benchmarks.product import MODEL, Product, running_product

TENANTS = [{"slug": slug, "name": slug, "weight": weight} for slug, weight in (("a", 3), ("b", 1), ("c", 1))]
SEATS = 8
CAP = 2 * SEATS  # so that only the window keeps an engine's own queue short
OPEN_REQUESTS = 32  # of each tenant, at any time
ENGINE = ("--profile", "a10g-7b", "--max-num-seqs", str(SEATS))
TARGET = 3  # requests, the default engine_queue_target
SAMPLE_EVERY_S = 0.02
DOWN_S = 2.0
RECOVERY_S = 5.0  # after the engine's second start: the time in which a burst would be seen
GAUGE = re.compile(r"^vllm:num_requests_(running|waiting)(?:\{[^}]*\})? (\S+)$", re.M)


@dataclass(frozen=True, slots=True)
class Result:
    """What one run showed. Requests, but for the seconds and the share."""

    seconds: float
    whole_share: float  # of the requests, those that do not stream
    samples: int
    waiting_p50: int  # in an engine's own queue
    waiting_p99: int
    waiting_max: int
    recovery_waiting_max: int  # of the engine that was killed, in its first seconds
    over_the_cap: int  # samples in which an engine held more than its cap
    busy_share: (
        float  # of the samples in which it was up: an engine had at least nine tenths of its seats taken
    )
    finished: int
    errors: dict[str, int] = field(default_factory=dict)


class Watch:
    """Reads the engines' own gauges all the time."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.waiting: list[int] = []
        self.first_engine: list[tuple[float, int]] = []  # when, and its waiting requests
        self.over = self.busy = 0
        self._urls = urls
        self._pages = urllib3.PoolManager(retries=False)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.gather(*(self._read(n, url) for n, url in enumerate(self._urls)))
            await asyncio.sleep(SAMPLE_EVERY_S)

    async def _read(self, n: int, url: str) -> None:
        try:
            page = await asyncio.to_thread(self._pages.request, "GET", f"{url}/metrics", timeout=1.0)
        except HTTPError:
            return
        said = {name: int(float(value)) for name, value in GAUGE.findall(page.data.decode())}
        running, waiting = said["running"], said["waiting"]
        self.waiting.append(waiting)
        self.over += running + waiting > CAP
        self.busy += running >= 0.9 * SEATS
        if n == 0:
            self.first_engine.append((time.monotonic(), waiting))


class Flood:
    """Every tenant keeps its requests open, with the stock client."""

    def __init__(self, product: Product, whole: float) -> None:
        self.finished = 0
        self.errors: Counter[str] = Counter()
        self._asked = 0
        self._whole = whole
        self._clients = [
            AsyncOpenAI(base_url=f"{product.url}/v1", api_key=secret, max_retries=0)
            for secret in product.secrets.values()
        ]

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await asyncio.gather(
                *(self._one(client) for client in self._clients for _ in range(OPEN_REQUESTS))
            )
        finally:
            for client in self._clients:
                await client.close()

    async def _one(self, client: AsyncOpenAI) -> None:
        while True:
            self._asked += 1
            stream = (self._asked * self._whole) % 1 >= self._whole  # spread evenly, the same every time
            try:
                await _ask(client, self._asked, stream=stream)
                self.finished += 1
            except APIError as error:
                self.errors[getattr(error, "code", None) or type(error).__name__] += 1


async def _ask(client: AsyncOpenAI, number: int, *, stream: bool) -> None:
    message = {"role": "user", "content": f"request {number} " + "word " * 60}
    create = client.chat.completions.create
    if not stream:
        await create(model=MODEL, messages=[message], max_tokens=24)
        return
    async for _ in await create(model=MODEL, messages=[message], max_tokens=24, stream=True):
        pass


async def play(product: Product, seconds: float, whole: float) -> Result:
    """Flood the product for so many seconds; in the middle one engine dies and comes back."""
    names = ("sim-0", "sim-1")
    rows = dict(product.query("SELECT name, url FROM scheduling_backend"))
    urls = [str(rows[name]) for name in names]
    watch, flood = Watch(urls), Flood(product, whole)
    tasks = [asyncio.create_task(watch.run()), asyncio.create_task(flood.run())]
    second: subprocess.Popen[str] | None = None
    try:
        await asyncio.sleep(seconds / 2)
        os.kill(product.pids[names[0]], signal.SIGKILL)
        await asyncio.sleep(DOWN_S)
        second = product.begin("engine", "--port", urls[0].rpartition(":")[2], "--model", MODEL, *ENGINE)
        again_s = time.monotonic()
        await asyncio.sleep(seconds / 2)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if second:
            second.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                second.communicate(timeout=5)
    ordered = sorted(watch.waiting)
    first_seen_s = min((at for at, _ in watch.first_engine if at >= again_s), default=again_s)
    recovery = [n for at, n in watch.first_engine if first_seen_s <= at < first_seen_s + RECOVERY_S]
    return Result(
        seconds=seconds + DOWN_S,
        whole_share=whole,
        samples=len(ordered),
        waiting_p50=ordered[len(ordered) // 2],
        waiting_p99=ordered[len(ordered) * 99 // 100],
        waiting_max=ordered[-1],
        recovery_waiting_max=max(recovery, default=0),
        over_the_cap=watch.over,
        busy_share=round(watch.busy / len(ordered), 3),
        finished=flood.finished,
        errors=dict(flood.errors),
    )


def measure(seconds: float, whole: float) -> Result:
    """One product, one flood."""
    with running_product(TENANTS, engine_options=ENGINE, max_in_flight=CAP) as product:
        return asyncio.run(play(product, seconds, whole))


def table(result: Result) -> str:
    """The result for a person."""
    flood = f"{result.finished} requests in {result.seconds:.0f} s, {result.whole_share:.0%} not streamed"
    waiting = (
        f"p50 {result.waiting_p50}, p99 {result.waiting_p99}, most {result.waiting_max} (target {TARGET})"
    )
    return "\n".join(
        (
            f"{flood}; {result.samples} readings of the engines' own gauges",
            f"waiting in an engine: {waiting}; busy in {result.busy_share:.0%} of the readings",
            f"most waiting after its restart: {result.recovery_waiting_max}",
            f"readings above the cap of {CAP}: {result.over_the_cap}",
            f"errors: {result.errors or 'none'}",
        )
    )


def main() -> None:
    """Flood, kill, restart, and say what the engines saw."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--seconds", type=float, default=20)
    options.add_argument(
        "--whole", type=float, default=0.25, help="share of requests that do not stream, 0..1"
    )
    chosen = options.parse_args()
    result = measure(chosen.seconds, chosen.whole)
    print(table(result))
    print(json.dumps({"backpressure": asdict(result)}))


if __name__ == "__main__":
    main()
