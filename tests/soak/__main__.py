"""The product under load while its processes are killed one after another: `make soak`.

    python -m tests.soak --kills 200 --away-s 60

Any process may be hit: the gateway most often, and in turn the workers and what
they forked, beat, PostgreSQL and its children, Valkey, an engine, and the
supervisor itself. In the middle PostgreSQL hangs for a minute. Prints one JSON
line, and ends with 1 if an answered request has no record or more than one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from config.programs import MODEL
from scheduling.core.outcome import Outcome
from tests.soak.load import Load
from tests.soak.product import Product

CLIENTS = 8
PAUSE_S = 0.02  # the machine has other things to do than to be asked
VICTIMS = (
    "web", "jobs", "web", "postgres child", "web", "control", "web", "postgres", "web", "beat",
    "web", "valkey", "web", "jobs child", "web", "engine", "web", "postgres", "web", "serve",
)  # fmt: skip
RECOVERY_S = 90.0  # the supervisor's longest delay, a start, and a database that replays its log
SETTLING_S = 150.0  # what a dead gateway left is looked for once a minute
BETWEEN_S = 2.0


def main() -> int:
    """Run it; the exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--away-s", type=float, default=60.0, help="how long PostgreSQL hangs")
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fl-soak-"))
    product = Product(folder)
    try:
        product.start()
        report = asyncio.run(soak(product, chosen))
    except BaseException:
        print(f"The product's data and its serve.log stay in {folder}", file=sys.stderr)
        raise
    finally:
        product.stop()
    shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(report))
    return int(bool(report["lost"] or report["doubled"] or report["stopped_while_away"]))


async def soak(product: Product, chosen: argparse.Namespace) -> dict[str, object]:
    """Kill, wait, compare."""
    rng = random.Random(chosen.seed)
    began = time.monotonic()
    secret = await asyncio.to_thread(product.token)
    load = Load(secret, MODEL, product.url, pause_s=PAUSE_S)
    asking = asyncio.create_task(load.run(CLIENTS))
    killed: Counter[str] = Counter()
    stopped = None
    while killed.total() < chosen.kills:
        if stopped is None and killed.total() >= chosen.kills // 2 and chosen.away_s:
            stopped = await hang(product, load, chosen.away_s)
        await strike(product, load, killed, rng)
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    report = await settle(product, load)
    return {
        "kills": killed.total(),
        "killed": dict(killed),
        **report,
        "postgres_away_s": chosen.away_s,
        "stopped_while_away": stopped or 0,
        "answers_begun": len(load.begun),
        "answers_whole": len(load.whole),
        "connections_broken": load.broken,
        "refused": load.refused,
        "minutes": round((time.monotonic() - began) / 60, 1),
    }


async def strike(product: Product, load: Load, killed: Counter[str], rng: random.Random) -> None:
    """Kill the next in turn, and wait until requests are answered again."""
    kind = VICTIMS[killed.total() % len(VICTIMS)]
    victims = product.processes().get(kind, [])
    if not victims:  # it was hit by the kill before, and is not back yet
        await asyncio.sleep(0.2)
        return
    await asyncio.to_thread(product.kill, kind, rng.choice(victims))
    killed[kind] += 1
    await load.another_head(RECOVERY_S)
    print(f"{killed.total()} {kind}", file=sys.stderr, flush=True)
    await asyncio.sleep(rng.uniform(0, BETWEEN_S))


async def hang(product: Product, load: Load, seconds: float) -> int:
    """Freeze PostgreSQL for a while; how many streams and requests suffered."""
    await asyncio.to_thread(product.wait_until_ready, RECOVERY_S)
    await load.another_head(RECOVERY_S)
    before = load.broken + sum(load.refused.values())
    product.freeze_postgres(frozen=True)
    known = len(load.whole)
    await asyncio.sleep(seconds)
    served = len(load.whole) - known
    suffered = load.broken + sum(load.refused.values()) - before
    product.freeze_postgres(frozen=False)
    print(f"PostgreSQL hung for {seconds:g} s: {served} answers, {suffered} failures", file=sys.stderr)
    return suffered + (not served)


async def settle(product: Product, load: Load) -> dict[str, object]:
    """What the books say, once they have everything."""
    query = "SELECT request_id, outcome FROM gateway_usagerecord"
    until = time.monotonic() + SETTLING_S
    await asyncio.to_thread(product.wait_until_ready, RECOVERY_S)
    while True:
        rows = await asyncio.to_thread(product.read, query)
        recorded = Counter(name for name, _ in rows)
        lost = load.begun - set(recorded)
        if not lost or time.monotonic() > until:
            break
        await asyncio.sleep(1)
    ((total,),) = product.read("SELECT sum(requests) FROM gateway_hourly_usage")
    wrong = load.whole - {name for name, outcome in rows if outcome == Outcome.OK}
    return {
        "records": len(rows),
        "lost": len(lost),
        "doubled": sum(count > 1 for count in recorded.values()),
        "whole_but_not_ok": len(wrong),
        "worker_lost": sum(outcome == Outcome.WORKER_LOST for _, outcome in rows),
        "totals_say": int(total),
    }


if __name__ == "__main__":
    sys.exit(main())
