"""The engines of a run as the gateway sees them: up or dead, read or not, and what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from scheduling.core.limits import Limit
from scheduling.core.policy import Policy
from scheduling.simulation.control import ReadEngine
from scheduling.simulation.engine.counted import CountedEngine
from scheduling.simulation.record import Gauge
from scheduling.simulation.scenario import POOL, EngineSpec, Scenario


class Backend:
    """One engine, the gateway's own count of what it holds there, and the limits in force.

    The counts are kept apart from the scheduler's, to check it by.
    """

    def __init__(self, name: str, spec: EngineSpec, policy: Policy) -> None:
        self.name = name
        self.spec = spec
        self.engine = CountedEngine(spec.config(), spec.costs())
        self.up = True
        self.started_ms = 0.0
        self.lost_preemptions = 0  # those of processes that died
        self.queue = Gauge()
        self.in_flight = 0
        self.pending = 0  # streams without a first token
        self.cap = policy.backends[name].max_in_flight
        pool = policy.pools[POOL]
        self.window = pool.window_requests if pool.admission == "first_token_window" else self.cap
        self.reader = ReadEngine(pool, policy.backends[name])

    def obey(self, limit: Limit) -> None:
        """The limits that the scheduler is told."""
        self.cap, self.window = limit.cap, limit.window

    def hold(self, *, streams: bool) -> bool:
        """One more request; False when it is one too many."""
        self.in_flight += 1
        self.pending += streams
        return self.in_flight <= self.cap and self.pending <= self.window

    def restart(self, now_ms: float) -> None:
        """A new process: it holds nothing."""
        self.lost_preemptions += self.engine.preemptions
        self.engine = CountedEngine(self.spec.config(), self.spec.costs())
        self.up = True
        self.started_ms = now_ms

    def note(self, now_ms: float) -> None:
        """The engine's queue may have changed."""
        self.queue.set(self.engine.waiting, now_ms)

    @property
    def preemptions(self) -> int:
        """Sequences that lost their memory, since the beginning."""
        return self.lost_preemptions + self.engine.preemptions


class Fleet:
    """All engines of a run."""

    def __init__(self, scenario: Scenario, policy: Policy) -> None:
        self._backends = [Backend(name, spec, policy) for name, spec in scenario.engines().items()]
        self._by_name = {backend.name: backend for backend in self._backends}

    def __iter__(self) -> Iterator[Backend]:
        return iter(self._backends)

    def __getitem__(self, name: str) -> Backend:
        return self._by_name[name]

    def at(self, place: int) -> Backend:
        """The engine at this place of the workload's."""
        return self._backends[place]

    def next(self) -> tuple[Backend | None, float, float]:
        """Whose step ends next, when, and when a step of another one does (infinity: none)."""
        first: Backend | None = None
        first_ms = second_ms = inf
        for backend in self._backends:
            due_ms = backend.engine.due_ms
            if due_ms is None:
                continue
            if due_ms < first_ms:
                first, first_ms, second_ms = backend, due_ms, first_ms
            elif due_ms < second_ms:
                second_ms = due_ms
        return first, first_ms, second_ms

    def has_idle(self) -> bool:
        """Whether an engine that is up has nothing to do."""
        return any(backend.up and backend.engine.due_ms is None for backend in self._backends)
