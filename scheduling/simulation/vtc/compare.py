"""What was measured beside the published figures, and the gateway beside the engine's own order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from scheduling.core.policy import FAIRNESS
from scheduling.simulation.vtc.dice import ARTIFACT_SEED
from scheduling.simulation.vtc.published import PUBLISHED, published
from scheduling.simulation.vtc.runs import GATEWAY, IN_ENGINE, Job, Measured

DEFAULT_POLICY = "token_fair"
SEATS = (16, 20, 25, 30, 37)  # of the engine behind the gateway, in the arena
LONG = "overload-600s"  # only to compare with the artifact's FCFS file of that length
KV_TOKENS = 10_000
GAP_BOUND = 2 * 2 * KV_TOKENS  # 2 max(Lin, 2 M), M the tokens in a batch (VTC's theorem)
LEAST_JAIN = 0.999
ARENA_AVG_DIFF = 252.0
ARENA_THROUGHPUT = 0.93


@dataclass(frozen=True, slots=True)
class Compared:
    """One published figure, ours on the artifact's arrivals, and ours over all seeds."""

    workload: str
    queue: str
    figure: str
    published: float
    same: float
    low: float
    middle: float
    high: float

    @property
    def nearest(self) -> float:
        """The deviation of the range of all seeds: 0 when the published value is in it."""
        return min(max(self.low, self.published), self.high) / self.published - 1

    @property
    def deviation(self) -> float:
        """Ours on the artifact's arrivals against the published, as a part of it."""
        return self.same / self.published - 1


@dataclass(frozen=True, slots=True)
class Row:
    """Means over the seeds of one scheduler on one workload, the least of Jain's indices, the largest gap.

    ``avg_diffs`` has the average difference of each seed, the artifact's first.
    """

    workload: str
    place: str
    scheduler: str
    seats: int | None
    means: Mapping[str, float]
    least_jain: float
    least_jain_30s: float
    most_gap: float
    avg_diffs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise with its limit and what was measured."""

    text: str
    limit: str
    measured: str
    met: bool


def plan(workloads: Sequence[str], seeds: int, trace: Path | None) -> list[Job]:
    """Every run that the tables need."""
    pairs = {(one.workload, one.queue): None for one in PUBLISHED}
    pairs.update({(name, queue): None for name in workloads for queue in ("FCFS", "VTC")})
    wanted: list[tuple[str, str, str, int | None]] = [
        (IN_ENGINE, name, queue, None) for name, queue in pairs if name in workloads
    ]
    wanted += [(GATEWAY, name, policy, None) for name in workloads if name != LONG for policy in FAIRNESS]
    if "arena" in workloads:
        wanted += [(GATEWAY, "arena", DEFAULT_POLICY, seats) for seats in SEATS]
    return [
        Job(place, name, scheduler, ARTIFACT_SEED + n, trace if name == "arena" else None, seats)
        for place, name, scheduler, seats in wanted
        for n in range(seeds)
    ]


def compared(measured: Sequence[Measured]) -> list[Compared]:
    """Every published figure of the workloads that were run."""
    groups = _grouped(measured)
    found: list[Compared] = []
    for one in PUBLISHED:
        runs = groups.get((IN_ENGINE, one.workload, one.queue, None))
        for figure, value in one.figures.items() if runs else ():
            ours = [run.figures[figure] for run in runs or ()]
            middle = median(ours)
            found.append(
                Compared(one.workload, one.queue, figure, value, ours[0], min(ours), middle, max(ours))
            )
    return found


def rows(measured: Sequence[Measured]) -> list[Row]:
    """Every scheduler on every workload, in the order of the plan."""
    return [
        Row(
            workload,
            place,
            scheduler,
            seats,
            {name: fmean(run.figures[name] for run in runs) for name in runs[0].figures},
            min(run.figures["jain"] for run in runs),
            min(run.figures["jain_30s"] for run in runs),
            max(run.figures["gap"] for run in runs),
            tuple(run.figures["avg_diff"] for run in runs),
        )
        for (place, workload, scheduler, seats), runs in _grouped(measured).items()
    ]


def find(found: Iterable[Row], place: str, workload: str, scheduler: str) -> Row | None:
    """The row of a scheduler with the workload's own seats."""
    key = (place, workload, scheduler, None)
    return next((row for row in found if (row.place, row.workload, row.scheduler, row.seats) == key), None)


def bars(found: Sequence[Row]) -> Iterator[Bar]:
    """The promises about the default policy that these rows can judge."""
    ours = [row for row in found if (row.place, row.scheduler) == (GATEWAY, DEFAULT_POLICY)]
    for name in ("overload", "overload-weighted"):
        if row := find(found, GATEWAY, name, DEFAULT_POLICY):
            jain = row.least_jain
            yield Bar(f"Jain's index, {name}", f"≥ {LEAST_JAIN}", f"{jain:.5f} at least", jain >= LEAST_JAIN)
    if ours:
        gap = max(row.most_gap for row in ours)
        yield Bar(
            "gap of service over weight, every workload",
            f"≤ {GAP_BOUND:,}",
            f"{gap:,.0f} at most",
            gap <= GAP_BOUND,
        )
    if arena := find(found, GATEWAY, "arena", DEFAULT_POLICY):
        diff, rate = arena.means["avg_diff"], arena.means["throughput"]
        least = arena_throughput()
        said = f"{diff:.1f} on average, {arena.avg_diffs[0]:.1f} at the artifact's seed"
        yield Bar("avg diff, arena", f"≤ {ARENA_AVG_DIFF:.0f}", said, diff <= ARENA_AVG_DIFF)
        yield Bar("tokens/s, arena", f"≥ {least:.0f}", f"{rate:.0f} on average", rate >= least)


def arena_throughput() -> float:
    """The least tokens a second that the arena must have: a part of VTC's on the GPU."""
    return ARENA_THROUGHPUT * published("arena", "VTC", "throughput")


def _grouped(measured: Iterable[Measured]) -> dict[tuple[str, str, str, int | None], list[Measured]]:
    groups: dict[tuple[str, str, str, int | None], list[Measured]] = {}
    for run in measured:
        job = run.job
        groups.setdefault((job.place, job.workload, job.scheduler, job.seats), []).append(run)
    return groups
