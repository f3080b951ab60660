"""Many gateways' snapshots become one picture (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from gateway.pictures import BackendPicture, Picture, PoolPicture, TenantPicture
from scheduling.core.view import BackendView

MINUTE_S = 60
WORSE = ("closed", "half_open", "open")
WAITS_MS = 1000  # a shorter wait is only the turn of a request that arrived just now


class TenantSnapshot(msgspec.Struct):
    """One tenant's line at one gateway."""

    tenant: str
    weight: int
    queued: int = 0
    queued_tokens: int = 0
    oldest_wait_ms: int | None = None
    in_flight: int = 0
    served_tokens_1m: int = 0
    served_tokens_5m: int = 0
    classes: list[str] = []
    boost: int = 1
    paused: bool = False
    waits_ms: dict[str, int] = {}  # by class: how long the oldest request waits
    served_by_class: dict[str, int] = {}  # served_tokens_1m in parts

    @property
    def counted_weight(self) -> int:
        """The weight with its boost."""
        return self.weight * self.boost


class PoolSnapshot(msgspec.Struct):
    """One pool at one gateway."""

    pool: str
    fairness: str
    queued: int
    in_flight: int
    tenants: list[TenantSnapshot]
    backends: list[BackendView]
    paused: bool = False


class Snapshot(msgspec.Struct):
    """One gateway at one moment."""

    gateway: str
    at_s: float
    revision: int
    pools: list[PoolSnapshot]


def merge(snapshots: Sequence[Snapshot], alone: int = 0) -> Picture:
    """Sum what the gateways published; ``alone`` of them read the engines themselves."""
    by_pool: dict[str, list[PoolSnapshot]] = {}
    for snapshot in snapshots:
        for pool in snapshot.pools:
            by_pool.setdefault(pool.pool, []).append(pool)
    return Picture(
        at_s=min((snapshot.at_s for snapshot in snapshots), default=0.0),
        revision=min((snapshot.revision for snapshot in snapshots), default=0),
        gateways=len(snapshots),
        pools=tuple(_pool(by_pool[name]) for name in sorted(by_pool)),
        alone=alone,
    )


def entitled_shares(tenants: Sequence[TenantSnapshot]) -> dict[str, float]:
    """Each tenant's weighted max-min fair share of what its classes were served in the last minute, 0..1.

    Weights share a class, not the pool: which class is served is for their
    order, their reserved seats and their age to say. In a minute without
    service there is one share for all. A gateway of the release before tells
    no classes; then there is one too.
    """
    total = sum(tenant.served_tokens_1m for tenant in tenants)
    by_class: dict[str, list[_Demand]] = {}
    shares: dict[str, float] = {}
    for tenant in tenants:
        if not (tenant.queued or tenant.in_flight or tenant.served_tokens_1m):
            continue
        shares[tenant.tenant] = 0.0
        for name, demand in _demands(tenant, total):
            by_class.setdefault(name, []).append(demand)
    for demands in by_class.values():
        served = sum(demand.served for demand in demands)
        for name, share in _max_min(demands, served).items():
            shares[name] += share * (served / total if total else 1)
    return shares


class _Demand(NamedTuple):
    """What one tenant wants of one class."""

    tenant: str
    weight: int
    served: int  # in the last minute
    is_hungry: bool  # it could use more than it is given


def _demands(tenant: TenantSnapshot, total: int) -> Iterator[tuple[str, _Demand]]:
    """By class. A boosted weight counts as it is boosted, and who is paused asks for nothing more."""
    weight, may_go = tenant.counted_weight, not tenant.paused
    waits, served = tenant.waits_ms, tenant.served_by_class
    if not total:
        yield "", _Demand(tenant.tenant, weight, 0, is_hungry=may_go and tenant.queued > 0)
        return
    if not (waits or served):
        waits, served = {"": tenant.oldest_wait_ms or 0}, {"": tenant.served_tokens_1m}
    for name in {**waits, **served}:
        is_hungry = may_go and tenant.queued > 0 and waits.get(name, 0) >= WAITS_MS
        yield name, _Demand(tenant.tenant, weight, served.get(name, 0), is_hungry)


def _max_min(demands: Sequence[_Demand], total: int) -> dict[str, float]:
    """Each tenant's share of one class, 0..1: Bertsekas and Gallager, Data Networks, 6.5.2.

    A tenant whose oldest request has waited for a second may have all it is
    entitled to by weight. Any other asks only for what it was served in the
    last minute, and what it leaves goes to those by weight.
    """
    hungry = {each.tenant: each.weight for each in demands if each.is_hungry}
    modest = {
        each.tenant: (each.weight, each.served / total if total else 0.0)
        for each in demands
        if not each.is_hungry
    }
    shares: dict[str, float] = {}
    left = 1.0
    # Serve the smallest demand for its weight first: once one is over its share, so are all behind it.
    for name in sorted(modest, key=lambda n: modest[n][1] / modest[n][0]):
        weight, demand = modest.pop(name)
        weights = weight + sum(w for w, _ in modest.values()) + sum(hungry.values())
        shares[name] = min(demand, left * weight / weights)
        left -= shares[name]
    for name, weight in hungry.items():
        shares[name] = left * weight / sum(hungry.values())
    return shares


def jain(served: Iterable[float], entitled: Iterable[float]) -> float | None:
    """Jain's fairness index of service over entitlement: 1 is perfectly fair.

    Jain, Chiu and Hawe, DEC-TR-301, 1984. None when fewer than two tenants count.
    """
    ratios = [s / e for s, e in zip(served, entitled, strict=True) if e > 0]
    squares = sum(ratio * ratio for ratio in ratios)
    if len(ratios) < 2 or not squares:
        return None
    return sum(ratios) ** 2 / (len(ratios) * squares)


def _pool(parts: Sequence[PoolSnapshot]) -> PoolPicture:
    tenants = _tenants(parts)
    total_1m = sum(tenant.served_tokens_1m for tenant in tenants)
    total_5m = sum(tenant.served_tokens_5m for tenant in tenants)
    shares = entitled_shares(tenants)
    waits = [tenant.oldest_wait_ms for tenant in tenants if tenant.oldest_wait_ms is not None]
    contending = [tenant for tenant in tenants if tenant.tenant in shares]
    return PoolPicture(
        pool=parts[0].pool,
        fairness=parts[0].fairness,
        queued=sum(part.queued for part in parts),
        in_flight=sum(part.in_flight for part in parts),
        oldest_wait_ms=max(waits, default=None),
        tokens_per_s=total_1m / MINUTE_S,
        jain=jain(
            [tenant.served_tokens_1m / total_1m for tenant in contending] if total_1m else [],
            [shares[tenant.tenant] for tenant in contending] if total_1m else [],
        ),
        tenants=tuple(
            TenantPicture(
                tenant=tenant.tenant,
                queued=tenant.queued,
                queued_tokens=tenant.queued_tokens,
                oldest_wait_ms=tenant.oldest_wait_ms,
                in_flight=tenant.in_flight,
                weight=tenant.weight,
                entitled=shares.get(tenant.tenant),
                served_1m=tenant.served_tokens_1m / total_1m if total_1m else None,
                served_5m=tenant.served_tokens_5m / total_5m if total_5m else None,
                served_tokens_1m=tenant.served_tokens_1m,
                served_tokens_5m=tenant.served_tokens_5m,
                classes=tuple(tenant.classes),
                boost=tenant.boost,
                paused=tenant.paused,
            )
            for tenant in tenants
        ),
        backends=_backends(parts),
        paused=any(part.paused for part in parts),
    )


def _tenants(parts: Sequence[PoolSnapshot]) -> list[TenantSnapshot]:
    rows: dict[str, TenantSnapshot] = {}
    for part in parts:
        for line in part.tenants:
            row = rows.setdefault(line.tenant, TenantSnapshot(tenant=line.tenant, weight=line.weight))
            row.boost = max(row.boost, line.boost)
            row.paused = row.paused or line.paused
            row.queued += line.queued
            row.queued_tokens += line.queued_tokens
            row.in_flight += line.in_flight
            row.served_tokens_1m += line.served_tokens_1m
            row.served_tokens_5m += line.served_tokens_5m
            row.classes = sorted({*row.classes, *line.classes})
            row.waits_ms = row.waits_ms | {
                name: max(wait_ms, row.waits_ms.get(name, 0)) for name, wait_ms in line.waits_ms.items()
            }
            row.served_by_class = dict(Counter(row.served_by_class) + Counter(line.served_by_class))
            if line.oldest_wait_ms is not None:
                row.oldest_wait_ms = max(row.oldest_wait_ms or 0, line.oldest_wait_ms)
    return [rows[name] for name in sorted(rows)]


def _backends(parts: Sequence[PoolSnapshot]) -> tuple[BackendPicture, ...]:
    gates: dict[str, list[BackendView]] = {}
    for part in parts:
        for gate in part.backends:
            gates.setdefault(gate.backend, []).append(gate)
    return tuple(_backend(name, gates[name]) for name in sorted(gates))


def _severity(circuit: str) -> int:
    return WORSE.index(circuit) if circuit in WORSE else 0  # a word of a gateway of another release


def _backend(name: str, gates: Sequence[BackendView]) -> BackendPicture:
    tries = [gate.retry_in_ms for gate in gates if gate.retry_in_ms is not None]
    memory = [gate.kv_tokens for gate in gates if gate.kv_tokens is not None]
    return BackendPicture(
        backend=name,
        in_flight=sum(gate.in_flight for gate in gates),
        pending_first_token=sum(gate.pending_first_token for gate in gates),
        window=max(gate.window for gate in gates),
        cap=max(gate.cap for gate in gates),
        draining=all(gate.draining for gate in gates),
        circuit=max((gate.circuit for gate in gates), key=_severity),
        reserved_kv_tokens=sum(gate.reserved_kv_tokens for gate in gates),
        kv_tokens=max(memory, default=None),
        slow_start=any(gate.slow_start for gate in gates),
        retry_in_ms=min(tries, default=None),
    )
