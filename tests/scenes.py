"""A queue for console tests: rules in Postgres, and what a gateway and the controller publish of it."""

from __future__ import annotations

import time

import msgspec
import redis

from gateway.picture_merge import PoolSnapshot, Snapshot, TenantSnapshot
from gateway.snapshots import GATEWAYS, SNAPSHOT
from scheduling import selectors, services
from scheduling.control_bus import save_states
from scheduling.core.control import BackendState
from scheduling.core.view import BackendView

BY = "cli"
PASSWORD = "a long enough password"
MODEL = "llama-3.1-8b"


def make_rules() -> None:
    """Two pools, two backends, three tenants: one greedy, two quiet."""
    services.create_pool(name="main", by=BY)
    services.create_pool(name="batch", by=BY)
    services.create_model(name=MODEL, pool="main", by=BY)
    for name, port in (("gpu-0", 9001), ("gpu-1", 9002)):
        services.create_backend(name=name, pool="main", url=f"http://127.0.0.1:{port}", by=BY)
    for slug, weight in (("greedy", 1), ("quiet-a", 1), ("quiet-b", 2)):
        services.create_tenant(slug=slug, weight=weight, by=BY)


def text(response) -> str:
    """A page as it was sent."""
    return response.content.decode()


def publish(client: redis.Redis, *, at_s: float | None = None, queued: int = 120) -> None:
    """Be a gateway that publishes now, and a controller that just ticked."""
    now = time.time()
    at_s = at_s or now
    page = Snapshot("g1", at_s, selectors.revision(), [_pool(queued)])
    client.set(SNAPSHOT + "g1", msgspec.json.encode(page), ex=60)
    client.zadd(GATEWAYS, {"g1": now})
    save_states(client, {name: _state(name, now) for name in ("gpu-0", "gpu-1")}, [])


def _pool(queued: int) -> PoolSnapshot:
    rules = selectors.policy()
    lines = (("greedy", queued, 9_200, 40_000), ("quiet-a", 2, 4_100, 11_000), ("quiet-b", 1, 6_900, 20_000))
    tenants = [
        TenantSnapshot(
            tenant=slug,
            weight=rules.tenants[slug].weight,
            boost=rules.tenants[slug].boost_at(time.time()),
            paused=rules.tenants[slug].paused,
            queued=waiting,
            queued_tokens=waiting * 400,
            oldest_wait_ms=1_100 + waiting * 110 if waiting else None,
            in_flight=3,
            served_tokens_1m=last_1m,
            served_tokens_5m=last_5m,
            classes=["standard"],
            waits_ms={"standard": 1_100 + waiting * 110} if waiting else {},
            served_by_class={"standard": last_1m},
        )
        for slug, waiting, last_1m, last_5m in lines
    ]
    gates = [
        BackendView(
            backend=name,
            in_flight=5,
            pending_first_token=2,
            window=3,
            cap=32,
            blocked=True,
            draining=rules.backends[name].draining,
        )
        for name in ("gpu-0", "gpu-1")
    ]
    rule = rules.pools["main"]
    return PoolSnapshot("main", rule.fairness, queued + 3, 9, tenants, gates, rule.paused)


def _state(name: str, now: float) -> BackendState:
    return BackendState(
        backend=name,
        window=3.0,
        cap=32.0,
        given_window=3,
        given_cap=32,
        reason="window +1: the engine's queue is 1, target 3",
        ticked_at_s=now,
        read_at_s=now - 0.4,
        running=5,
        waiting=1,
        kv_usage=0.42,
        output_token_s=0.031,
    )
