"""What a run says about fairness, waiting and throughput."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from scheduling.core.policy import DEFAULT_WEIGHT
from scheduling.simulation.simulate import Run, Served


@dataclass(frozen=True, slots=True)
class TenantResult:
    """One tenant. ``share`` and ``entitled`` are parts of the service in the measured time, 0..1."""

    tenant: str
    weight: int
    requests: int
    share: float
    entitled: float
    wait_p50_s: float
    wait_p99_s: float
    ttft_p99_s: float


@dataclass(frozen=True, slots=True)
class Result:
    """The whole run. ``jain`` is 1.0 when everybody got the same part of what they were entitled to."""

    workload: str
    fairness: str
    admission: str
    jain: float
    tokens_per_s: float
    engine_queue_max: int
    tenants: tuple[TenantResult, ...]


def measure(run: Run) -> Result:
    """The figures of a run."""
    names = sorted({served.arrival.tenant for served in run.served})
    weights = {name: run.workload.weights.get(name, DEFAULT_WEIGHT) for name in names}
    demand = {name: run.demand.get(name, 0) for name in names}
    total = sum(run.service.values())
    entitled = max_min(demand, weights, total)
    return Result(
        workload=run.workload.name,
        fairness=run.fairness,
        admission=run.admission,
        jain=jain([run.service.get(name, 0) / entitled[name] for name in names if entitled[name]]),
        tokens_per_s=1000 * run.tokens / run.ended_ms if run.ended_ms else 0.0,
        engine_queue_max=run.engine_queue_max,
        tenants=tuple(
            _tenant(
                [served for served in run.served if served.arrival.tenant == name],
                weights[name],
                run.service.get(name, 0) / total if total else 0.0,
                entitled[name] / total if total else 0.0,
            )
            for name in names
        ),
    )


def max_min(demand: Mapping[str, int], weights: Mapping[str, int], capacity: float) -> dict[str, float]:
    """Weighted max-min fair amounts: nobody gets more than asked, the rest is shared by weight."""
    shares: dict[str, float] = {}
    left = float(capacity)
    open_weight = sum(weights.values())
    for name in sorted(demand, key=lambda name: (demand[name] / weights[name], name)):
        shares[name] = min(demand[name], left * weights[name] / open_weight)
        left -= shares[name]
        open_weight -= weights[name]
    return shares


def jain(values: Sequence[float]) -> float:
    """Jain's index: 1.0 when all are equal, 1/n when one has everything."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that at least this part is not above; 0 when there is none."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0


def _tenant(served: list[Served], weight: int, share: float, entitled: float) -> TenantResult:
    waits = [(one.seated_ms - one.arrival.at_ms) / 1000 for one in served if one.seated_ms is not None]
    firsts = [
        (one.first_token_ms - one.arrival.at_ms) / 1000 for one in served if one.first_token_ms is not None
    ]
    return TenantResult(
        tenant=served[0].arrival.tenant,
        weight=weight,
        requests=len(served),
        share=share,
        entitled=entitled,
        wait_p50_s=percentile(waits, 50),
        wait_p99_s=percentile(waits, 99),
        ttft_p99_s=percentile(firsts, 99),
    )
