"""The arena workload: 27 clients, 1,500 requests in ten minutes, from its trace or drawn in its shape."""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Iterator
from pathlib import Path

from scheduling.simulation.scenario import Arrival
from scheduling.simulation.vtc.dice import ARTIFACT_SEED

TRACE = "vtc_arena_27_clients.csv"
PLACES = (Path("shared/data"), Path("../shared/data"))  # as seen from the repository's root
ROOT = Path(__file__).resolve().parents[3]
DURATION_MS = 600_000
# Requests of each client, heaviest first, and lognormal fits (mu, sigma, most) of the lengths: the
# stored trace of Ying1123/VTC-artifact, fair_bench.
COUNTS = (
    *(296, 262, 199, 120, 67, 66, 56, 46, 44, 43, 40, 36, 31, 26),
    *(25, 23, 22, 22, 19, 19, 12, 11, 7, 3, 2, 2, 1),
)
PROMPT = (3.772, 1.639, 1021)
COMPLETION = (4.943, 1.381, 977)
FEWEST_TOKENS = 2


def find_trace(name: str = TRACE) -> Path | None:
    """A trace in the folder FAIRLANE_TRACES, else in shared/data in or beside the repository, if any."""
    named = os.environ.get("FAIRLANE_TRACES")
    places = [Path(named)] if named else [ROOT / place for place in PLACES]
    return next((place / name for place in places if (place / name).is_file()), None)


def arena_arrivals(seed: int, trace: Path | None) -> list[Arrival]:
    """The artifact's seed is the trace as it is; any other begins elsewhere in it and wraps around.

    Without the trace, arrivals are drawn: for each client as many as there
    are in it, at any time of the ten minutes. Raises OSError and ValueError.
    """
    rng = random.Random(seed)  # noqa: S311 the same arrivals for the same seed, no secret
    if trace is None:
        return list(_drawn(rng))
    return list(_turned(trace, 0 if seed == ARTIFACT_SEED else rng.randrange(DURATION_MS)))


def _turned(trace: Path, turn_ms: int) -> Iterator[Arrival]:
    """The rows of the trace, later by ``turn_ms``."""
    with trace.open(newline="") as lines:
        for row in csv.DictReader(lines):
            try:
                at_ms = round(float(row["arrival_s"]) * 1000)
                prompt, completion = int(row["prompt_tokens"]), int(row["completion_tokens"])
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{trace}: a row is no request of the arena trace ({error})") from None
            if turn_ms:
                at_ms = (at_ms + turn_ms) % DURATION_MS
            yield Arrival(at_ms, row["client"], prompt, completion)


def _drawn(rng: random.Random) -> Iterator[Arrival]:
    for rank, count in enumerate(COUNTS, 1):
        for _ in range(count):
            at_ms = rng.randrange(DURATION_MS)
            yield Arrival(at_ms, f"client-{rank:02}", _length(rng, PROMPT), _length(rng, COMPLETION))


def _length(rng: random.Random, fit: tuple[float, float, int]) -> int:
    mu, sigma, most = fit
    return min(most, max(FEWEST_TOKENS, round(rng.lognormvariate(mu, sigma))))
