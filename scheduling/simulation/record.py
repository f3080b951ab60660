"""What was seen of a run: one record a request, and how long each engine's queue was for how long."""

from __future__ import annotations

from dataclasses import dataclass, field

from scheduling.core.outcome import Outcome
from scheduling.core.usage import cost_of
from scheduling.simulation.scenario import Arrival, Scenario


@dataclass(slots=True)
class Served:
    """What became of one request. Times are milliseconds since the beginning.

    ``seated_ms`` is its last dispatch; ``completion_tokens`` are those that
    the client was told. Without an outcome it was still waiting or running
    at the end, which only happens when no engine is left to serve it.
    """

    arrival: Arrival
    seated_ms: float | None = None
    first_token_ms: float | None = None
    ended_ms: float | None = None
    outcome: Outcome | None = None
    completion_tokens: int = 0
    backend: str = ""

    @property
    def cost_tokens(self) -> int:
        """The service that its tenant got: nothing before the first token."""
        if self.first_token_ms is None:
            return 0
        return cost_of(self.arrival.prompt_tokens, self.completion_tokens)

    @property
    def left_line_ms(self) -> float | None:
        """When it stopped waiting here, served or not."""
        return self.seated_ms if self.seated_ms is not None else self.ended_ms


@dataclass(slots=True)
class Gauge:
    """A whole number over time: for how many milliseconds it had each value, and when it changed."""

    value: int = 0
    since_ms: float = 0.0
    held_ms: dict[int, float] = field(default_factory=dict)
    changes: list[tuple[float, int]] = field(default_factory=list)

    def set(self, value: int, now_ms: float) -> None:
        """It has this value from now on."""
        if value == self.value:
            return
        self.close(now_ms)
        self.value = value
        if self.changes and self.changes[-1][0] == now_ms:
            self.changes[-1] = (now_ms, value)
        else:
            self.changes.append((now_ms, value))

    def close(self, now_ms: float) -> None:
        """Count the time up to now."""
        if now_ms > self.since_ms:
            self.held_ms[self.value] = self.held_ms.get(self.value, 0.0) + now_ms - self.since_ms
        self.since_ms = now_ms


@dataclass(slots=True)
class Run:
    """All that was seen.

    ``over_limit`` counts dispatches that took an engine above the cap or the
    window in force: a fault of the scheduler. ``idle_while_queued_ms`` is
    how long an engine that was up had nothing to do while requests waited.
    Of the engines' ``prompt_tokens`` they did not have to compute the
    ``cached_tokens``.
    """

    scenario: Scenario
    served: list[Served] = field(default_factory=list)
    engine_queues: dict[str, Gauge] = field(default_factory=dict)
    ended_ms: float = 0.0
    preemptions: int = 0
    over_limit: int = 0
    idle_while_queued_ms: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
