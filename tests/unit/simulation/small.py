"""Small workloads for scenarios that can be followed request by request."""

from __future__ import annotations

from dataclasses import replace

from scheduling.simulation.scenario import Arrival, EngineSpec, Workload

ONE_SEAT = EngineSpec(max_num_seqs=1)


def a_workload(*arrivals, **changes):
    last_ms = max(arrival.at_ms for arrival in arrivals)
    return replace(Workload("small", tuple(arrivals), 0, last_ms + 1), **changes)


def asks(count, *, every_ms=0, completion=50, tenant="a", **fields):
    return [Arrival(n * every_ms, tenant, 100, completion, **fields) for n in range(count)]


def outcomes(run):
    return [one.outcome for one in run.served]
