"""All gates of a pool."""

from __future__ import annotations

from collections.abc import Iterator

from scheduling.core.admission import Gate
from scheduling.core.limits import Limit
from scheduling.core.policy import Policy, PoolRule


class Gates:
    """The gates of one pool. A backend that left the policy keeps its gate until it is empty."""

    reserve: bool
    """Whether any of them reserves KV memory, so that one ticket may go where another may not."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._gates: dict[str, Gate] = {}

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
        for gate in list(self._gates.values()):
            self.forget_if_gone(gate)
        self._look()

    def move(self, limit: Limit, now_ms: int, read_ms: int | None) -> bool:
        """Set one backend's limit; False when it is unknown, or the limit is not newer."""
        gate = self._gates.get(limit.backend)
        if gate is None or gate.gone:
            return False
        moved = gate.move(limit, now_ms, read_ms)
        self._look()
        return moved

    def serving(self, model: str) -> list[Gate]:
        """The backends of the policy that have the model, draining ones too."""
        return [gate for gate in self._gates.values() if model in gate.models and not gate.gone]

    def forget_if_gone(self, gate: Gate) -> None:
        """Drop the gate of a backend that left, once its last request has ended."""
        if gate.gone and not gate.in_flight:
            self._gates.pop(gate.name, None)

    def _look(self) -> None:
        self.reserve = any(gate.kv_tokens is not None for gate in self._gates.values())
