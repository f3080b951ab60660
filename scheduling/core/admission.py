"""The keeper of one backend's seats, and all keepers of a pool."""

from __future__ import annotations

from collections.abc import Iterator

from scheduling.core.limits import Limit
from scheduling.core.policy import BackendRule, Policy, PoolRule

PAUSE_MS = 1000  # an engine that said 429 or 503 gets this long before the next request


class Gate:
    """May one more request go in? In flight < cap, and pending first tokens < window.

    The window is a measurement of the engine's own queue that needs no
    metrics and has no delay: nothing can burst between two readings, because
    only first tokens and ends open the gate. ``static_cap`` leaves it out.
    Source of the idea: "Efficient Request Queueing", TNG, 2025, part 5.
    """

    __slots__ = (
        "_full_cap",
        "_full_window",
        "_windowed",
        "blocked",
        "cap",
        "draining",
        "gone",
        "in_flight",
        "limit",
        "models",
        "name",
        "paused_until_ms",
        "pending",
        "window",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.models: frozenset[str] = frozenset()
        self.draining = False
        self.gone = False
        self.in_flight = 0
        self.pending = 0
        self.window = 0
        self.cap = 0
        self.limit: Limit | None = None
        self.paused_until_ms = 0
        self.blocked = False
        self._full_window = 0
        self._full_cap = 0
        self._windowed = True

    def obey(self, rule: BackendRule, pool: PoolRule, models: frozenset[str]) -> None:
        """Follow these rules; a limit in force stays, within them."""
        self.gone = False
        self.models = models
        self.draining = rule.draining
        self._windowed = pool.admission == "first_token_window"
        limit = self.limit
        self._refill(
            limit.window if limit else pool.window_requests,
            min(limit.cap, rule.max_in_flight) if limit else rule.max_in_flight,
        )

    def move(self, limit: Limit, max_in_flight: int) -> bool:
        """Obey the limit if it is newer than the one in force; say whether it was."""
        known = self.limit
        if known and (limit.epoch, limit.read_at_s) <= (known.epoch, known.read_at_s):
            return False
        self.limit = limit
        self._refill(limit.window, min(limit.cap, max_in_flight))
        return True

    def is_open(self, hold: int, now_ms: int) -> bool:
        """Whether one more may go in, leaving ``hold`` seats to better classes.

        An empty backend is open to every class, however much is held back.
        """
        if self.draining or self.gone or now_ms < self.paused_until_ms:
            return False
        if self.in_flight >= self.cap - hold and (self.in_flight or not self.cap):
            return False
        return self.pending < self.window or not self._windowed

    def seat(self) -> None:
        """One request more in flight, and without a first token."""
        self.in_flight += 1
        self.pending += 1

    def started(self) -> None:
        """A first token came."""
        self.pending -= 1

    def leave(self, *, started: bool, refund: bool) -> None:
        """A request ended. One that was served gives a throttled gate one step back."""
        self.in_flight -= 1
        if not started:
            self.pending -= 1
        if not refund:
            self.window = min(self.window + 1, self._full_window)
            self.cap = min(self.cap + 1, self._full_cap)

    def throttle(self, now_ms: int) -> None:
        """The engine is full: halve what admits, and wait a moment."""
        if self._windowed:
            self.window = min(self.window, max(1, self.window // 2))
        else:
            self.cap = min(self.cap, max(1, self.cap // 2))
        self.paused_until_ms = now_ms + PAUSE_MS

    def _refill(self, window: int, cap: int) -> None:
        self.window = self._full_window = window
        self.cap = self._full_cap = cap


class Gates:
    """The gates of one pool. A backend that left the policy keeps its gate until it is empty."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._gates: dict[str, Gate] = {}
        self._max_in_flight: dict[str, int] = {}

    def __iter__(self) -> Iterator[Gate]:
        return iter(self._gates.values())

    def get(self, name: str) -> Gate | None:
        """The backend's gate, if the pool has it."""
        return self._gates.get(name)

    def obey(self, policy: Policy) -> None:
        """Follow the policy's backends. One that lists no model has all of its pool."""
        pool = policy.pools.get(self._pool) or PoolRule(self._pool)
        everything = frozenset(name for name, where in policy.models.items() if where == self._pool)
        for gate in self._gates.values():
            gate.gone = True
        for name in sorted(policy.backends):
            rule = policy.backends[name]
            if rule.pool != self._pool:
                continue
            gate = self._gates.get(name) or self._gates.setdefault(name, Gate(name))
            gate.obey(rule, pool, rule.models or everything)
            self._max_in_flight[name] = rule.max_in_flight
        for gate in list(self._gates.values()):
            self.forget_if_gone(gate)

    def move(self, limit: Limit) -> bool:
        """Set one backend's limit; False when it is unknown, or the limit is not newer."""
        gate = self._gates.get(limit.backend)
        return gate is not None and not gate.gone and gate.move(limit, self._max_in_flight[gate.name])

    def serving(self, model: str) -> list[Gate]:
        """The backends of the policy that have the model, draining ones too."""
        return [gate for gate in self._gates.values() if model in gate.models and not gate.gone]

    def forget_if_gone(self, gate: Gate) -> None:
        """Drop the gate of a backend that left, once its last request has ended."""
        if gate.gone and not gate.in_flight:
            self._gates.pop(gate.name, None)
            self._max_in_flight.pop(gate.name, None)
