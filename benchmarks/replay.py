"""Replay a real trace through the running product with the stock openai client, and see who was served.

    python -m benchmarks.replay                    # weights 3:1 and a quiet tenant, under fifo and token_fair
    python -m benchmarks.replay --seconds 20

Lengths come from the Azure LLM inference trace 2023 (conversation) when the
file is given or found, else from its published lognormal fit.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import itertools
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from openai import APIError, AsyncOpenAI

from benchmarks.load.shapes import COMPLETION_FIT, PROMPT_FIT, TRACE, Lengths
from benchmarks.product import MODEL, POOL, Product, running_product
from scheduling.simulation.vtc.arena import find_trace

HEAVY = {"research": 3, "batch-jobs": 1}  # tenant: weight
QUIET = "chat"
POLICIES = ("fifo", "token_fair")
TENANTS = [
    *({"slug": slug, "name": slug, "weight": weight} for slug, weight in HEAVY.items()),
    {"slug": QUIET, "name": "Chat", "weight": 1},
]
# Slow engines with few seats, so that one client process can keep them flooded beside them on a laptop.
ENGINES, SEATS = ("--profile", "a10g-7b", "--max-num-seqs", "8"), 8
BACKLOG = 64  # requests each heavy tenant keeps open: eight times what the two engines seat
QUIET_EVERY_S = 0.5
CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Result:
    """What one run showed."""

    fairness: str
    shares: dict[str, float]  # of the cost tokens of the heavy tenants, while both had a backlog
    finished: dict[str, int]
    quiet_wait_ms: dict[str, float]  # p50 and p99 in line
    quiet_passed_by: int  # requests of heavy tenants that began while one of the quiet tenant waited, at most
    backlogged: bool  # whether both heavy tenants really waited all the time
    errors: int


def trace(path: Path | None, shrink: int) -> list[Lengths]:
    """Lengths of the trace in order, divided by ``shrink`` so that a short run sees many requests."""
    if path is not None and path.exists():
        with path.open(encoding="utf-8") as file:
            rows = [
                Lengths(int(row["prompt_tokens"]), int(row["completion_tokens"]))
                for row in csv.DictReader(file)
            ]
    else:
        dice = random.Random(2023)
        rows = [
            Lengths(int(dice.lognormvariate(*PROMPT_FIT)), int(dice.lognormvariate(*COMPLETION_FIT)))
            for _ in range(5000)
        ]
    return [
        Lengths(max(1, row.prompt_tokens // shrink), max(1, row.completion_tokens // shrink)) for row in rows
    ]


class Load:
    """The stock client, once per tenant, for a number of seconds."""

    def __init__(self, product: Product, seconds: float) -> None:
        self.errors = 0
        self._seconds = seconds
        self._clients = {
            tenant: AsyncOpenAI(base_url=f"{product.url}/v1", api_key=secret, max_retries=0)
            for tenant, secret in product.secrets.items()
        }

    async def run(self, rows: Sequence[Lengths]) -> None:
        """Keep both heavy tenants backlogged and the quiet one quiet; at the end all leave at once."""
        async with asyncio.TaskGroup() as group:
            crowd = [group.create_task(self._quiet())]
            for n, tenant in enumerate(HEAVY):
                own = itertools.cycle(rows[n :: len(HEAVY)])
                crowd += [group.create_task(self._heavy(tenant, own)) for _ in range(BACKLOG)]
            await asyncio.sleep(self._seconds)
            for client in crowd:
                client.cancel()
        for each in self._clients.values():
            await each.close()

    async def _heavy(self, tenant: str, own: Iterator[Lengths]) -> None:
        while True:
            await self._ask(tenant, next(own))

    async def _quiet(self) -> None:
        async with asyncio.TaskGroup() as asked:
            while True:
                asked.create_task(self._ask(QUIET, Lengths(20, 8)))
                await asyncio.sleep(QUIET_EVERY_S)

    async def _ask(self, tenant: str, row: Lengths) -> None:
        try:
            stream = await self._clients[tenant].chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": "word" * row.prompt_tokens}],
                max_tokens=row.completion_tokens,
                stream=True,
            )
            async for _ in stream:
                pass
        except APIError:
            self.errors += 1


def measure(product: Product, fairness: str, began_s: float, ended_s: float, errors: int) -> Result:
    """Read the product's own usage records, without the run's first quarter."""
    warm_s = began_s + (ended_s - began_s) / 4
    window = (warm_s, ended_s)
    # Service is spread over the time a request held its seat, so that one at the edge counts in part.
    served = product.query(
        "SELECT tenant, sum(cost * greatest(0, extract(epoch FROM least(ended_at, to_timestamp(%s)) "
        "- greatest(dispatched_at, to_timestamp(%s)))) / greatest(extract(epoch FROM ended_at - "
        "dispatched_at), 0.001)), count(*) FROM gateway_usagerecord WHERE dispatched_at IS NOT NULL "
        "AND ended_at > to_timestamp(%s) AND dispatched_at < to_timestamp(%s) GROUP BY tenant",
        (ended_s, warm_s, *window),
    )
    cost = {str(tenant): int(total) for tenant, total, _ in served}
    heavy = sum(cost.get(tenant, 0) for tenant in HEAVY)
    waits = {
        str(tenant): {"p1": float(p1), "p50": float(p50), "p99": float(p99)}
        for tenant, p1, p50, p99 in product.query(
            "SELECT tenant, percentile_cont(0.01) WITHIN GROUP (ORDER BY wait), percentile_cont(0.5) WITHIN "
            "GROUP (ORDER BY wait), percentile_cont(0.99) WITHIN GROUP (ORDER BY wait) FROM (SELECT tenant, "
            "1000 * extract(epoch FROM dispatched_at - queued_at) AS wait FROM gateway_usagerecord "
            "WHERE dispatched_at BETWEEN to_timestamp(%s) AND to_timestamp(%s)) AS waits GROUP BY tenant",
            window,
        )
    }
    # An order and not a time: a host that stands still for a moment holds up everybody, and lets nobody pass.
    ((passed_by,),) = product.query(
        "SELECT coalesce(max(passed), 0) FROM (SELECT (SELECT count(*) FROM gateway_usagerecord AS other "
        "WHERE other.tenant <> quiet.tenant AND other.dispatched_at > quiet.queued_at "
        "AND other.dispatched_at < quiet.dispatched_at) AS passed FROM gateway_usagerecord AS quiet "
        "WHERE quiet.tenant = %s AND quiet.dispatched_at BETWEEN to_timestamp(%s) AND to_timestamp(%s)) "
        "AS each",
        (QUIET, *window),
    )
    return Result(
        fairness=fairness,
        shares={tenant: cost.get(tenant, 0) / heavy if heavy else 0.0 for tenant in HEAVY},
        finished={str(tenant): int(count) for tenant, _, count in served},
        quiet_wait_ms={name: waits[QUIET][name] for name in ("p50", "p99")},
        quiet_passed_by=int(passed_by),
        backlogged=all(waits[tenant]["p1"] > 0 for tenant in HEAVY),
        errors=errors,
    )


def compare(rows: Sequence[Lengths], seconds: float, policies: Sequence[str] = POLICIES) -> list[Result]:
    """One product, one run under each policy."""
    results = []
    with running_product(TENANTS, engine_options=ENGINES, max_in_flight=SEATS) as product:
        for fairness in policies:
            product.apply({"policies": [{"pool": POOL, "fairness": fairness}]})
            began_s = time.time()
            load = Load(product, seconds)
            asyncio.run(load.run(rows))
            time.sleep(1)  # the journal writes its last batch
            results.append(measure(product, fairness, began_s, began_s + seconds, load.errors))
    return results


def quiet_ratio(results: Sequence[Result]) -> float:
    """How many times shorter the quiet tenant's p99 wait is under the last policy than under the first."""
    return results[0].quiet_wait_ms["p99"] / max(results[-1].quiet_wait_ms["p99"], 1.0)


def table(results: Sequence[Result]) -> str:
    """The results for a person."""
    titles = f"{'policy':<12} {'research : batch-jobs':>22} {'quiet wait p50 / p99':>24}"
    lines = [f"{titles} {'passed by':>10} {'finished':>9}"]
    for result in results:
        shares = " : ".join(f"{100 * share:.1f} %" for share in result.shares.values())
        waits = f"{result.quiet_wait_ms['p50']:.0f} / {result.quiet_wait_ms['p99']:.0f} ms"
        finished = sum(result.finished.values())
        lines.append(
            f"{result.fairness:<12} {shares:>22} {waits:>24} {result.quiet_passed_by:>10} {finished:>9}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run under fifo and under token_fair, and compare."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--trace", type=Path, default=find_trace(TRACE))
    options.add_argument("--seconds", type=float, default=40)
    options.add_argument("--shrink", type=int, default=4, help="divide all lengths by this")
    chosen = options.parse_args()
    rows = trace(chosen.trace, chosen.shrink)
    results = compare(rows, chosen.seconds)
    ratio = quiet_ratio(results)
    print(table(results))
    print(f"The quiet tenant's p99 wait is {ratio:.0f} times shorter under token_fair than under fifo.")
    print(json.dumps({"replay": [asdict(result) for result in results], "quiet_p99_ratio": round(ratio, 1)}))


if __name__ == "__main__":
    main()
