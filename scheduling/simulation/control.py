"""The product's control law in pretend time: one reading of the engine a second."""

from __future__ import annotations

from dataclasses import dataclass

from scheduling.control_step import counts_of
from scheduling.core.control import BackendState, Step, next_state
from scheduling.core.limits import EngineLoad, Limit
from scheduling.core.policy import BackendRule, PoolRule
from scheduling.core.view import BackendView
from scheduling.simulation.engine.model import EngineModel

READ_EVERY_MS = 1000
STALE_AFTER_S = 10.0
EPOCH_S = 1_000_000.0  # Unix time 0 would mean "never"


@dataclass(slots=True)
class ReadEngine:
    """An engine with metrics, and the limits that follow from them."""

    pool: PoolRule
    backend: BackendRule
    engine: EngineModel
    due_ms: int = 0
    state: BackendState | None = None

    def read(self, gates: tuple[BackendView, ...], work_total: int) -> Limit:
        """The limit to obey from ``due_ms`` on, when the engine is read; then comes the next second."""
        now_s = EPOCH_S + self.due_ms / 1000
        load = EngineLoad(
            self.backend.name,
            now_s,
            running=self.engine.running,
            waiting=self.engine.waiting,
            work_total=work_total,
        )
        own = counts_of(gates)[self.backend.name]
        step = Step(self.pool, self.backend, load, own, now_s, STALE_AFTER_S)
        self.state = next_state(self.state, step)
        self.due_ms += READ_EVERY_MS
        return self.state.limit()
