"""A quiet tenant beside a power user: the picture that half of the experiments look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scheduling.simulation.experiments import figures, words
from scheduling.simulation.experiments.experiment import Bars, Row
from scheduling.simulation.experiments.traffic import power, quiet, workload
from scheduling.simulation.experiments.trial import Observation, Size
from scheduling.simulation.experiments.words import ratio
from scheduling.simulation.scenario import Workload

QUIET, POWER = "quiet", "power"
TIMES = 2.0  # the power user alone asks for this many times what the engine serves
WARM = 0.1  # of a trial, until the flood's queue is there

BATCH_TENANTS = 8
INTERACTIVE, BATCH = "interactive", "batch"

# Of ``quiet_rows``.
QUIET_COLUMNS = (words.REQUESTS, words.P50, words.P99, words.FACTOR, words.ENGINE_QUEUE, words.WRITTEN)
QUIET_BARS = Bars("The quiet tenant's time to the first token", "p99", log=True)


def alone(size: Size, seed: int) -> Workload:
    """The quiet tenant without neighbours."""
    return workload(size, seed, [quiet(size, INTERACTIVE)], measured_from=WARM)


def flooded(size: Size, seed: int) -> Workload:
    """The same tenant beside a power user."""
    return workload(size, seed, [quiet(size), power(size, TIMES)], measured_from=WARM)


def capped(played: Workload, most: int | None) -> Workload:
    """The same on engines that may hold so many requests; None: as many as the admission law lets them."""
    return replace(played, engines=tuple(replace(spec, max_in_flight=most) for spec in played.engines))


def crowded(size: Size, seed: int) -> Workload:
    """The same tenant, interactive, beside a flood of batch requests that several tenants send."""
    each = TIMES / BATCH_TENANTS
    crowd = [power(size, each, f"batch-{n}", BATCH) for n in range(BATCH_TENANTS)]
    return workload(size, seed, [quiet(size, INTERACTIVE), *crowd], measured_from=WARM)


def quiet_samples(observations: Sequence[Observation]) -> dict[str, list[float]]:
    """The quiet tenant's times to the first token, in seconds, by trial."""
    return {seen.trial.label: figures.first_tokens_s(seen, QUIET) for seen in observations}


def quiet_rows(observations: Sequence[Observation]) -> list[Row]:
    """What the quiet tenant saw, trial by trial; factors are of the first, in which it is alone."""
    alone_s = figures.first_token_s(observations[0], QUIET, 99)
    return [_row(seen, alone_s) for seen in observations]


def held_rows(observations: Sequence[Observation], unlimited: str) -> list[Row]:
    """What the quiet tenant and the engine saw; throughput is compared with the trial ``unlimited``."""
    full = next(figures.tokens_per_s(seen) for seen in observations if seen.trial.label == unlimited)
    return [_held(seen, full) for seen in observations]


def _held(seen: Observation, full: float) -> Row:
    scenario = seen.trial.scenario
    written = figures.tokens_per_s(seen)
    return Row(
        seen.trial.label,
        {
            "polled": scenario.read_every_ms / 1000 if scenario.reads() else None,
            "p50": figures.first_token_s(seen, QUIET, 50),
            "p99": figures.first_token_s(seen, QUIET, 99),
            "per_token": figures.per_token_ms(seen, POWER),
            "engine_queue": seen.inside.queue_max,
            "written": written,
            "kept": ratio(written, full),
        },
    )


def _row(seen: Observation, alone_s: float) -> Row:
    p99_s = figures.first_token_s(seen, QUIET, 99)
    return Row(
        seen.trial.label,
        {
            "requests": figures.requests(seen, QUIET),
            "p50": figures.first_token_s(seen, QUIET, 50),
            "p99": p99_s,
            "factor": ratio(p99_s, alone_s),
            "engine_queue": seen.inside.queue_max,
            "written": figures.tokens_per_s(seen),
        },
    )
