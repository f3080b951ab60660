"""One control step over all backends: readings and counts in, the next states out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

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


def tells(load: EngineLoad) -> bool:
    """Whether this reading says anything that a limit can go by."""
    return not load.error and (load.running is not None or load.waiting is not None)


def newest(
    load: EngineLoad, heard: EngineLoad | None, known: BackendState | None, stale_after_s: float
) -> EngineLoad:
    """The reading to go by: the page's, or what the engine told in a response (``heard``).

    What was heard stands in for a page that failed, once, and not when it
    is stale. Beside a good page only its newer figures count: how many are
    running stays the page's, for it goes with the moment it was true for.
    """
    if heard is None or not tells(heard):
        return load
    if tells(load):
        later = heard.read_at_s > load.read_at_s
        return with_figures(load, heard) if later else load
    known_at_s = known.read_at_s if known else 0.0
    fresh = known_at_s < heard.read_at_s >= load.read_at_s - stale_after_s
    return heard if fresh else load


def with_figures(load: EngineLoad, heard: EngineLoad) -> EngineLoad:
    """``load`` with the queue and the memory as they were heard, where they were."""
    return replace(
        load,
        waiting=load.waiting if heard.waiting is None else heard.waiting,
        kv_usage=load.kv_usage if heard.kv_usage is None else heard.kv_usage,
    )


def with_work(load: EngineLoad, own: OwnCounts) -> EngineLoad:
    """``load`` with how many are at work, where a response told of the queue alone: ours that cannot wait.

    Requests of others in the engine's queue make it fewer, never more.
    """
    if load.running is not None or load.waiting is None:
        return load
    return replace(load, running=max(0, own.in_flight - load.waiting))


class Told:
    """What a gateway's gates have to tell, kept until a control step has used it.

    Gates are asked more often than engines are read: that work waited at a
    shut gate stays true until the step that goes by it.
    """

    def __init__(self) -> None:
        self.counts: dict[str, OwnCounts] = {}

    def look(self, gates: Iterable[BackendView]) -> None:
        """Take the gates as they stand now; what they say of the time since the last look adds up."""
        self.counts = {backend: self._with_past(backend, now) for backend, now in counts_of(gates).items()}

    def used(self, backend: str) -> None:
        """A control step went by this backend's counts: what happened before it is past."""
        if backend in self.counts:
            self.counts[backend] = replace(self.counts[backend], blocked=False, answered=0, answer_ms=0)

    def _with_past(self, backend: str, now: OwnCounts) -> OwnCounts:
        past = self.counts.get(backend, NOTHING_HELD)
        return replace(
            now,
            blocked=now.blocked or past.blocked,
            answered=now.answered + past.answered,
            answer_ms=now.answer_ms + past.answer_ms,
        )


def counts_of(gates: Iterable[BackendView]) -> dict[str, OwnCounts]:
    """What one gateway holds at each backend."""
    return {
        gate.backend: OwnCounts(
            gate.pending_first_token,
            gate.in_flight,
            gate.blocked,
            gate.streaming,
            gate.answered,
            gate.answer_ms,
        )
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
                so_far.answered + more.answered,
                so_far.answer_ms + more.answer_ms,
            )
    return total
