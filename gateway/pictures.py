"""What the console sees of the queue: one picture, merged from what every gateway publishes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TenantPicture:
    """One tenant's line in one pool."""

    tenant: str
    queued: int
    queued_tokens: int
    oldest_wait_ms: int | None
    in_flight: int
    weight: int
    entitled: float | None  # 0..1: by weight, of what its classes were served; None without work
    served_1m: float | None  # 0..1 of the pool's cost tokens in the last minute; None when none were
    served_5m: float | None
    served_tokens_1m: int
    served_tokens_5m: int
    classes: tuple[str, ...]
    boost: int = 1  # how many times the weight counts now
    paused: bool = False


@dataclass(frozen=True, slots=True)
class BackendPicture:
    """One backend's gate, summed over gateways."""

    backend: str
    in_flight: int
    pending_first_token: int
    window: int
    cap: int
    draining: bool
    circuit: str = "closed"  # the worst of any gateway: open, half_open, closed
    reserved_kv_tokens: int = 0
    kv_tokens: int | None = None  # that requests may reserve together; None: not known
    slow_start: bool = False
    retry_in_ms: int | None = None  # when the next request tries an open circuit


@dataclass(frozen=True, slots=True)
class PoolPicture:
    """One pool."""

    pool: str
    fairness: str
    queued: int
    in_flight: int
    oldest_wait_ms: int | None
    tokens_per_s: float  # cost tokens settled per second over the last minute
    jain: float | None  # Jain's index of served over entitled, over the last minute
    tenants: tuple[TenantPicture, ...]
    backends: tuple[BackendPicture, ...]
    paused: bool = False  # at one gateway at least


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything live at one moment."""

    at_s: float  # Unix time of the oldest snapshot that went in; 0 when no gateway published
    revision: int  # the lowest policy revision in force at any gateway
    gateways: int
    pools: tuple[PoolPicture, ...]
    alone: int = 0  # gateways that hear no controller and read the engines themselves

    def gates(self) -> dict[str, BackendPicture]:
        """Every backend's gate by name."""
        return {gate.backend: gate for pool in self.pools for gate in pool.backends}

    def pool(self, name: str) -> PoolPicture | None:
        """The pool of this name, if any gateway knows it."""
        return next((pool for pool in self.pools if pool.pool == name), None)
