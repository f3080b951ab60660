"""Many runs, each of one workload under one scheduler from one seed, on all cores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from scheduling.simulation.record import Served
from scheduling.simulation.scenario import Workload
from scheduling.simulation.simulate import simulate
from scheduling.simulation.vtc.engine import play
from scheduling.simulation.vtc.metrics import figures, first_token_s
from scheduling.simulation.vtc.published import FIRST_P50, FIRST_P99, HEAVY, LIGHT
from scheduling.simulation.vtc.queues import QUEUES
from scheduling.simulation.vtc.workloads import WORKLOADS, arena

IN_ENGINE, GATEWAY = "in-engine", "gateway"
LIGHTEST, HEAVIEST = 14, 2  # clients of the arena that the artifact looks at
# The tenant that asks for less than its share, where there is one.
CALM = {
    "on_off_less": "calm",
    "poisson_on_off": "calm",
    "increase": "steady",
    "proportional": "quarter",
}


@dataclass(frozen=True, slots=True)
class Job:
    """One run. ``scheduler`` is a queue of the engine or a fairness policy of the gateway.

    ``seats`` overrides how many sequences the engine behind the gateway runs.
    """

    place: str
    workload: str
    scheduler: str
    seed: int
    trace: Path | None = None
    seats: int | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """A run and its figures by name; first-token times are seconds."""

    job: Job
    seats: int
    figures: dict[str, float]


def measure_job(job: Job) -> Measured:
    """Play one job."""
    workload = arena(job.seed, job.trace) if job.workload == "arena" else WORKLOADS[job.workload](job.seed)
    if job.seats is not None:
        workload = replace(workload, engines=(replace(workload.engines[0], max_num_seqs=job.seats),))
    if job.place == IN_ENGINE:
        served = play(workload, QUEUES[job.scheduler](workload.weights, job.seed))
    else:
        served = simulate(workload, job.scheduler, "first_token_window").served
    found = {**asdict(figures(workload, served)), **_first_tokens(workload, served)}
    return Measured(job, workload.engines[0].max_num_seqs, found)


def measure_all(jobs: Iterable[Job], processes: int) -> list[Measured]:
    """Play them all, in order, in so many processes; 1 plays them in this one."""
    if processes == 1:
        return [measure_job(job) for job in jobs]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return list(pool.map(measure_job, jobs))


def _first_tokens(workload: Workload, served: list[Served]) -> dict[str, float]:
    found: dict[str, float] = {}
    for group, tenants in _groups(workload):
        found[f"{FIRST_P50}, {group}"] = first_token_s(served, tenants, 50)
        found[f"{FIRST_P99}, {group}"] = first_token_s(served, tenants, 99)
    return found


def _groups(workload: Workload) -> Iterator[tuple[str, list[str]]]:
    """The tenants whose waiting the artifact reports."""
    if workload.name == "arena":
        counts = Counter(arrival.tenant for arrival in workload.arrivals)
        heaviest_first = sorted(counts, key=lambda tenant: (-counts[tenant], tenant))
        yield LIGHT, heaviest_first[-LIGHTEST:]
        yield HEAVY, heaviest_first[:HEAVIEST]
    elif tenant := CALM.get(workload.name):
        yield tenant, [tenant]
