"""One control step over all backends: readings and counts in, the next states out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scheduling.core.control import BackendState, OwnCounts, Step, next_state
from scheduling.core.limits import EngineLoad
from scheduling.core.policy import Policy, PoolRule
from scheduling.core.view import BackendView

NOTHING_HELD = OwnCounts()


@dataclass(frozen=True, slots=True)
class Moment:
    """When a step happens, and by whose clock (see ``Step``)."""

    now_s: float
    stale_after_s: float
    epoch_floor: int = 0


def next_states(
    before: Mapping[str, BackendState],
    loads: Iterable[EngineLoad],
    policy: Policy,
    own: Mapping[str, OwnCounts] | None,
    moment: Moment,
) -> dict[str, BackendState]:
    """The states after these readings, by backend. Backends that left the policy are left out.

    ``own`` is what the gateways hold; None when no gateway has told.
    """
    after: dict[str, BackendState] = {}
    for load in loads:
        if (rule := policy.backends.get(load.backend)) is None:
            continue
        pool = policy.pools.get(rule.pool) or PoolRule(rule.pool)
        counts = None if own is None else own.get(load.backend, NOTHING_HELD)
        step = Step(
            pool, rule, load, counts, moment.now_s, moment.stale_after_s, epoch_floor=moment.epoch_floor
        )
        after[load.backend] = next_state(before.get(load.backend), step)
    return after


def counts_of(gates: Iterable[BackendView]) -> dict[str, OwnCounts]:
    """What one gateway holds at each backend."""
    return {
        gate.backend: OwnCounts(gate.pending_first_token, gate.in_flight, gate.blocked, gate.streaming)
        for gate in gates
    }


def summed(told: Iterable[Mapping[str, OwnCounts]]) -> dict[str, OwnCounts]:
    """What all gateways hold together."""
    total: dict[str, OwnCounts] = {}
    for counts in told:
        for backend, more in counts.items():
            so_far = total.get(backend, NOTHING_HELD)
            total[backend] = OwnCounts(
                so_far.pending + more.pending,
                so_far.in_flight + more.in_flight,
                so_far.blocked or more.blocked,
                so_far.streaming + more.streaming,
            )
    return total
