"""The product's control law in pretend time: one reading of each engine a second."""

from __future__ import annotations

from dataclasses import dataclass

from scheduling.core.control import BackendState, OwnCounts, Step, next_state
from scheduling.core.limits import EngineLoad, Limit
from scheduling.core.policy import BackendRule, PoolRule
from scheduling.simulation.engine.counted import CountedEngine

READ_EVERY_MS = 1000
STALE_AFTER_S = 10.0
EPOCH_S = 1_000_000.0  # Unix time 0 would mean "never"


@dataclass(slots=True)
class ReadEngine:
    """The controller's memory of one engine, and the limits that follow from its readings."""

    pool: PoolRule
    rule: BackendRule
    state: BackendState | None = None
    decode_ms: float = 0.0  # of the reading before
    decode_tokens: int = 0

    def read(self, engine: CountedEngine, started_ms: float, own: OwnCounts, now_ms: float) -> Limit:
        """The limit to obey from now on, as the engine shows itself."""
        tokens = engine.decode_tokens - self.decode_tokens
        passed_ms = engine.decode_ms - self.decode_ms
        self.decode_tokens, self.decode_ms = engine.decode_tokens, engine.decode_ms
        return self._decide(
            EngineLoad(
                self.rule.name,
                _unix_s(now_ms),
                running=engine.running,
                waiting=engine.waiting,
                kv_usage=engine.memory.usage,
                preemptions_total=engine.preemptions,
                output_token_s=passed_ms / tokens / 1000 if tokens > 0 else None,
                started_at_s=_unix_s(started_ms),
                work_total=engine.decode_tokens,
            ),
            own,
            now_ms,
        )

    def miss(self, error: str, own: OwnCounts, now_ms: float) -> Limit:
        """The limit to obey from now on: the engine gave no answer."""
        return self._decide(EngineLoad(self.rule.name, _unix_s(now_ms), error=error), own, now_ms)

    def _decide(self, load: EngineLoad, own: OwnCounts, now_ms: float) -> Limit:
        step = Step(self.pool, self.rule, load, own, _unix_s(now_ms), STALE_AFTER_S)
        self.state = next_state(self.state, step)
        return self.state.limit()


def _unix_s(at_ms: float) -> float:
    return EPOCH_S + at_ms / 1000
