"""The product's control laws in pretend time: what is read of each engine, and the limits that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from scheduling.core.control import BackendState, OwnCounts, Step, next_state
from scheduling.core.limits import EngineLoad, Limit
from scheduling.core.policy import BackendRule, PoolRule
from scheduling.simulation.engine.counted import CountedEngine

STALE_AFTER_S = 10.0
STALE_AFTER_PERIODS = 3  # at least: an engine that is asked rarely is not stale between two readings
EPOCH_S = 1_000_000.0  # Unix time 0 would mean "never"
NOTHING_HELD = OwnCounts()


@dataclass(slots=True)
class ReadEngine:
    """The controller's memory of one engine, and the limits that follow from its readings."""

    pool: PoolRule
    rule: BackendRule
    period_ms: int
    tells_kv: bool
    state: BackendState | None = None
    decode_ms: float = 0.0  # of the reading before
    decode_tokens: int = 0

    def page(self, engine: CountedEngine, started_ms: float, asked_ms: float) -> EngineLoad:
        """What its metrics say."""
        tokens = engine.decode_tokens - self.decode_tokens
        passed_ms = engine.decode_ms - self.decode_ms
        self.decode_tokens, self.decode_ms = engine.decode_tokens, engine.decode_ms
        return replace(
            self.header(engine, asked_ms),
            running=engine.running,
            preemptions_total=engine.preemptions,
            output_token_s=passed_ms / tokens / 1000 if tokens > 0 else None,
            started_at_s=unix_s(started_ms),
            work_total=engine.decode_tokens,
            kv_tokens=engine.config.kv_tokens if self.tells_kv else None,
        )

    def header(self, engine: CountedEngine, asked_ms: float) -> EngineLoad:
        """What the header of a response says: as vLLM's, not how many are running."""
        return EngineLoad(
            self.rule.name,
            unix_s(asked_ms),
            waiting=engine.waiting,
            kv_usage=engine.memory.usage,
        )

    def nothing(self, error: str, asked_ms: float) -> EngineLoad:
        """No answer."""
        return EngineLoad(self.rule.name, unix_s(asked_ms), error=error, down=error == "refused")

    def limit(self, load: EngineLoad, own: Mapping[str, OwnCounts], now_ms: float) -> Limit:
        """The limit to obey from now on, by this reading."""
        held = own.get(self.rule.name, NOTHING_HELD)
        stale_after_s = max(STALE_AFTER_S, STALE_AFTER_PERIODS * self.period_ms / 1000)
        step = Step(self.pool, self.rule, load, held, unix_s(now_ms), stale_after_s)
        self.state = next_state(self.state, step)
        return self.state.limit()


def unix_s(at_ms: float) -> float:
    """Pretend time as the law's Unix time."""
    return EPOCH_S + at_ms / 1000
