"""Each gateway publishes its queue to Valkey; the console reads what all published.

The console never reaches into a gateway, so one process or twenty look the
same to it. A snapshot is built only while somebody looks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import redis.asyncio
from channels.layers import get_channel_layer
from redis.exceptions import RedisError

from gateway.picture_merge import PoolSnapshot, Snapshot, TenantSnapshot, merge
from gateway.pictures import Picture
from scheduling import control_bus
from scheduling.control_bus import GatewayWord
from scheduling.core.policy import Policy, TenantRule
from scheduling.core.view import PoolView
from scheduling.dispatchers.base import Dispatcher
from scheduling.valkey import asked_to_stop, async_client, sync_client

log = logging.getLogger(__name__)

WATCHED = "fairlane:watched"  # exists while somebody looks
WATCHED_S = 5
GATEWAYS = "fairlane:gateways"  # sorted set: gateway id by the time it last published
SNAPSHOT = "fairlane:snapshot:"
SNAPSHOT_S = 5  # a gateway that is silent this long is not in the picture
FIRST_LOOK_S = 1.0  # two beats of a gateway that publishes every half second
LOOK_AGAIN_S = 0.05
MOST_TENANTS = 500  # tenants of a pool in one snapshot; pool totals count the others too
LIVE_GROUP = "live"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Snapshot).decode


class SnapshotPublisher:
    """Publishes one gateway's queue, twice a second while watched and at once when told."""

    def __init__(
        self,
        gateway_id: str,
        dispatcher: Dispatcher,
        policy: Callable[[], Policy],
        every_s: float,
    ) -> None:
        self._gateway_id = gateway_id
        self._dispatcher = dispatcher
        self._policy = policy
        self._every_s = every_s
        self._redis = async_client()

    async def run(self) -> None:
        """Publish until cancelled. Valkey being away costs only the console's picture."""
        while not asked_to_stop():
            try:
                if await self._redis.exists(WATCHED):
                    await self._publish()
            except (RedisError, OSError) as error:
                log.debug("no snapshot published: %s", error)
            await asyncio.sleep(self._every_s)

    async def announce(self) -> None:
        """Publish now and wake every live page: the policy was swapped or a command ran."""
        try:
            await self._publish()
            if layer := get_channel_layer():
                await layer.group_send(LIVE_GROUP, {"type": "live.wake"})
        except (RedisError, OSError) as error:
            log.debug("no live frame announced: %s", error)

    async def close(self) -> None:
        """Leave the picture at once."""
        try:
            await self._redis.delete(SNAPSHOT + self._gateway_id)
            await self._redis.zrem(GATEWAYS, self._gateway_id)
        except (RedisError, OSError) as error:
            log.debug("could not leave the picture: %s", error)
        await self._redis.aclose()

    async def _publish(self) -> None:
        now = time.time()
        snapshot = take(self._dispatcher, self._policy(), self._gateway_id, now)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(SNAPSHOT + self._gateway_id, _encode(snapshot), ex=SNAPSHOT_S)
        pipeline.zadd(GATEWAYS, {self._gateway_id: now})
        pipeline.zremrangebyscore(GATEWAYS, 0, now - 60)
        await pipeline.execute()


def take(dispatcher: Dispatcher, policy: Policy, gateway_id: str, now_s: float) -> Snapshot:
    """One gateway's queue as it stands."""
    served = dispatcher.served()
    return Snapshot(
        gateway=gateway_id,
        at_s=now_s,
        revision=policy.revision,
        pools=[_pool(view, policy, served, now_s) for view in dispatcher.view()],
    )


def _pool(view: PoolView, policy: Policy, served: Any, now_s: float) -> PoolSnapshot:
    tenants: dict[str, TenantSnapshot] = {}
    for line in view.tenants:
        tenants[line.tenant] = TenantSnapshot(
            tenant=line.tenant,
            weight=line.weight,
            queued=line.queued,
            queued_tokens=line.queued_tokens,
            oldest_wait_ms=line.oldest_wait_ms,
            in_flight=line.in_flight,
            classes=list(line.classes),
            boost=line.boost,
            paused=line.paused,
            waits_ms=dict(line.waits_ms),
        )
    for (pool, tenant, priority_class), (last_1m, last_5m) in served.items():
        if pool != view.pool or not last_5m:
            continue
        rule = policy.tenants.get(tenant, TenantRule(tenant))
        resting = TenantSnapshot(
            tenant=tenant, weight=rule.weight, boost=rule.boost_at(now_s), paused=rule.paused
        )
        row = tenants.setdefault(tenant, resting)
        row.served_tokens_1m += last_1m
        row.served_tokens_5m += last_5m
        row.served_by_class[priority_class] = last_1m
    busiest = sorted(tenants.values(), key=lambda row: (-row.queued, -row.served_tokens_5m, row.tenant))
    return PoolSnapshot(
        pool=view.pool,
        fairness=view.fairness,
        queued=view.queued,
        in_flight=view.in_flight,
        tenants=busiest[:MOST_TENANTS],
        backends=list(view.backends),
        paused=view.paused,
    )


async def keep_watched(client: redis.asyncio.Redis) -> None:
    """Say that somebody looks, for the next few seconds."""
    await client.set(WATCHED, 1, ex=WATCHED_S)


async def read_picture(client: redis.asyncio.Redis) -> Picture:
    """What all gateways published last, merged."""
    ids: Any = await client.zrangebyscore(GATEWAYS, time.time() - SNAPSHOT_S, "+inf")
    pages = await client.mget([SNAPSHOT + _text(name) for name in ids]) if ids else []
    return merge(_readable(pages), _alone(await control_bus.read_words(client)))


def read_picture_sync() -> Picture:
    """The same for a view or a command: says that somebody looks, then reads.

    When nobody looked before, the gateways get a moment to notice: a first
    look should neither say that there are none nor show what was long ago.
    """
    client = sync_client()
    looked_s = time.time()
    first_look = client.set(WATCHED, 1, ex=WATCHED_S, nx=True)
    if not first_look:
        client.expire(WATCHED, WATCHED_S)
    give_up_s = time.monotonic() + (FIRST_LOOK_S if first_look else 0)
    while True:
        ids: Any = client.zrangebyscore(GATEWAYS, time.time() - SNAPSHOT_S, "+inf")
        pages: Any = client.mget([SNAPSHOT + _text(name) for name in ids]) if ids else []
        told = _readable(pages)
        fresh = told and (not first_look or all(snapshot.at_s >= looked_s for snapshot in told))
        if fresh or time.monotonic() > give_up_s:
            return merge(told, _alone(control_bus.load_words(client)))
        time.sleep(LOOK_AGAIN_S)


def _alone(words: Mapping[str, GatewayWord]) -> int:
    return sum(word.alone for word in words.values())


def _readable(pages: Iterable[Any]) -> list[Snapshot]:
    told = []
    for page in pages:
        if page is None:
            continue
        try:
            told.append(_decode(page))
        except msgspec.DecodeError as error:  # a gateway of another release
            log.warning("a snapshot cannot be read: %s", error)
    return told


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
