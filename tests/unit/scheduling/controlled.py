"""One backend under the control law, a reading a second."""

from __future__ import annotations

from scheduling.core.control import BackendState, OwnCounts, Step, next_state
from scheduling.core.limits import EngineLoad
from scheduling.core.policy import BackendRule, PoolRule

POOL = PoolRule("main")
GPU = BackendRule("gpu-0", "main", frozenset({"llama"}), max_in_flight=64, engine="vllm")
HELD_BACK = OwnCounts(pending=3, in_flight=20, blocked=True, streaming=17)


class Controller:
    """One backend under control, a reading a second."""

    def __init__(self, pool: PoolRule = POOL, backend: BackendRule = GPU) -> None:
        self.pool, self.backend = pool, backend
        self.now_s = 1000.0
        self.state: BackendState | None = None
        self._work = 0

    def reads(self, own: OwnCounts | None = HELD_BACK, **said) -> BackendState:
        self._work += 10
        said = {"running": 17, "waiting": 0, "work_total": self._work, "read_at_s": self.now_s, **said}
        return self.step(EngineLoad("gpu-0", **said), own)

    def fails(self, error: str = "timeout", own: OwnCounts | None = HELD_BACK) -> BackendState:
        return self.step(EngineLoad("gpu-0", self.now_s, error=error), own)

    def hears_nothing(self, own: OwnCounts | None = HELD_BACK) -> BackendState:
        """What comes of an engine that has no page."""
        return self.step(EngineLoad("gpu-0", self.now_s), own)

    def step(self, load: EngineLoad, own: OwnCounts | None) -> BackendState:
        self.state = next_state(
            self.state, Step(self.pool, self.backend, load, own, self.now_s, stale_after_s=10.0)
        )
        self.now_s += 1.0
        return self.state


def windows(controller: Controller, times: int, **said) -> list[int]:
    return [controller.reads(**said).limit().window for _ in range(times)]
