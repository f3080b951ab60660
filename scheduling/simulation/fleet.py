"""The engines of a run as the gateway sees them: up or dead, read or not, and what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from scheduling.core.limits import EngineLoad, Limit
from scheduling.core.policy import Policy
from scheduling.simulation.control import ReadEngine
from scheduling.simulation.engine.counted import CountedEngine
from scheduling.simulation.record import Gauge
from scheduling.simulation.scenario import POOL, PREFIX_TOKENS, Arrival, EngineSpec, Scenario


class Backend:
    """One engine, the gateway's own count of what it holds there, and the limits in force.

    The counts are kept apart from the scheduler's, to check it by.
    """

    def __init__(self, name: str, spec: EngineSpec, policy: Policy, read_every_ms: int) -> None:
        self.name = name
        self.spec = spec
        self.engine = CountedEngine(spec.config(), spec.costs())
        self.up = True
        self.started_ms = 0.0
        self.queue = Gauge()
        self.in_flight = 0
        self.pending = 0  # streams without a first token
        pool, rule = policy.pools[POOL], policy.backends[name]
        self._windowed = pool.admission == "first_token_window"
        self._alone = pool.engine_priority == "alone"  # the engine's own order is all that bounds it
        self.cap, self.window = rule.max_in_flight, pool.window_requests
        self.reader = ReadEngine(pool, rule, read_every_ms, spec.tells_kv)
        self._lost = (0, 0, 0)  # what processes that died had counted, as ``counted`` says

    def obey(self, limit: Limit) -> None:
        """The limits that the scheduler is told."""
        self.cap, self.window = limit.cap, limit.window

    def hold(self, *, streams: bool) -> bool:
        """One more request; False when it is one too many."""
        self.in_flight += 1
        self.pending += streams
        if self._alone:
            return True
        return self.in_flight <= self.cap and not (self._windowed and self.pending > self.window)

    def let_go(self, *, pending: bool) -> None:
        """One less."""
        self.in_flight -= 1
        self.pending -= pending

    def restart(self, now_ms: float) -> None:
        """A new process: it holds nothing."""
        self._lost = self.counted()
        self.engine = CountedEngine(self.spec.config(), self.spec.costs())
        self.up = True
        self.started_ms = now_ms

    def stop(self, name: str, now_ms: float) -> None:
        """The client of a request is gone, if the engine has it still."""
        if self.engine.holds(name):
            self.engine.abort(name)
            self.note(now_ms)

    def wake(self, now_ms: float) -> None:
        """Start the engine if it has nothing to do and somebody waits in it."""
        if self.engine.due_ms is None and self.engine.waiting:
            self.engine.advance(now_ms)
            self.note(now_ms)

    def look(self, asked_ms: float, *, blackout: bool) -> EngineLoad:
        """What the controller reads that asked at that time."""
        if self.up and not blackout:
            return self.reader.page(self.engine, self.started_ms, asked_ms)
        return self.reader.nothing("timeout" if self.up else "refused", asked_ms)

    def cacheable(self, arrival: Arrival) -> tuple[int, ...]:
        """Hashes of the prompt's full blocks, for an engine that keeps them."""
        return arrival.prefixes[: arrival.prompt_tokens // PREFIX_TOKENS] if self.spec.prefix_cache else ()

    def note(self, now_ms: float) -> None:
        """The engine's queue may have changed."""
        self.queue.set(self.engine.waiting, now_ms)

    def counted(self) -> tuple[int, int, int]:
        """Since the beginning: preemptions, prompt tokens admitted, and those of them it had in its cache."""
        preemptions, prompt, cached = self._lost
        engine = self.engine
        return (
            preemptions + engine.preemptions,
            prompt + engine.prompt_tokens,
            cached + engine.cached_tokens,
        )


class Fleet:
    """All engines of a run."""

    def __init__(self, scenario: Scenario, policy: Policy) -> None:
        self._backends = [
            Backend(name, spec, policy, scenario.read_every_ms) for name, spec in scenario.engines().items()
        ]
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
