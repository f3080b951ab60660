"""The figures of a run, as others read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TenantResult:
    """One tenant. ``share`` and ``entitled`` are parts of the service in the measured time, 0..1.

    ``entitled`` is its max-min fair share by weight of what was served,
    given what it asked for. Waits are times in line here, first-token times
    (TTFT) count from the arrival. ``unserved`` requests ended without OK.
    """

    tenant: str
    weight: int
    requests: int
    unserved: int
    share: float
    entitled: float
    wait_p50_s: float
    wait_p99_s: float
    wait_max_s: float
    ttft_p50_s: float
    ttft_p99_s: float


@dataclass(frozen=True, slots=True)
class ClassResult:
    """One class: how long its requests waited in line and for their first token."""

    priority_class: str
    requests: int
    wait_max_s: float
    ttft_p50_s: float
    ttft_p99_s: float


@dataclass(frozen=True, slots=True)
class Fairness:
    """How evenly service was shared, by the definitions of docs/simulator.md.

    ``jain`` is 1.0 when everybody got the same part of what they were
    entitled to. ``jain_min_30s`` is the worst 30 s; ``gap_tokens`` the most
    that ``gap_between`` drifted apart, in cost tokens per weight; both look
    only at tenants while they wait. ``convergence_s``: one for each change
    of weights. None: it did not happen, or nobody waited so long.
    """

    jain: float
    jain_min_30s: float | None
    gap_tokens: float
    gap_between: tuple[str, str] | None
    convergence_s: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Isolation:
    """How many times longer a tenant waits for first tokens beside the others than alone."""

    tenant: str
    alone_p50_s: float
    alone_p99_s: float
    factor_p50: float
    factor_p99: float


@dataclass(frozen=True, slots=True)
class Result:
    """The whole run. Engine queues are requests that wait inside an engine, over time and all engines."""

    workload: str
    fairness: str
    admission: str
    engines: int
    requests: int
    simulated_s: float
    tokens_per_s: float
    engine_queue_mean: float
    engine_queue_p99: int
    engine_queue_max: int
    idle_while_queued_s: float
    preemptions: int
    over_limit: int
    outcomes: Mapping[str, int]
    fair: Fairness
    classes: tuple[ClassResult, ...]
    tenants: tuple[TenantResult, ...]
    isolation: Isolation | None = None  # needs a second run, without the others
    cached_share: float = (
        0.0  # of the prompt tokens that engines admitted, 0..1: in their prefix caches already
    )

    @property
    def jain(self) -> float:
        """How evenly the whole measured time was shared."""
        return self.fair.jain

    def tenant(self, name: str) -> TenantResult:
        """One tenant's figures. Raises KeyError when it had no requests."""
        for one in self.tenants:
            if one.tenant == name:
                return one
        raise KeyError(name)
