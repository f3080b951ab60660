"""What controller, gateways and console tell one another in Valkey: states, counts and a wake-up."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import redis
import redis.asyncio
from redis.asyncio.client import PubSub

from scheduling.control_step import summed
from scheduling.core.control import BackendState, OwnCounts

STATES = "fairlane:control:states"  # hash: backend -> BackendState as JSON
COUNTS = "fairlane:control:counts:"  # + gateway: {backend: OwnCounts} as JSON
COUNTS_S = 5  # a gateway that is silent this long holds nothing as far as the controller knows
GATEWAYS = "fairlane:control:gateways"  # sorted set: gateway by the time it last told
FORGET_GATEWAY_S = 60
TICKED = "fairlane:control:ticked"  # Unix time of the last control step, also without any backend
PERIOD = "fairlane:control:period"  # exists while somebody has this period's step
WAKE = "fairlane:control:wake"  # channel: states changed. Carries no data and may be lost

_encode = msgspec.json.Encoder().encode
_decode_state = msgspec.json.Decoder(BackendState).decode
_decode_counts = msgspec.json.Decoder(dict[str, OwnCounts]).decode


# The controller's side, in a thread.


def take_period(client: redis.Redis, period_s: float) -> bool:
    """Whether this process has the control step of the period that begins now."""
    # A little less than the period, so that a beat that comes early by its jitter finds it free.
    life_ms = max(1, round(period_s * 800))
    return bool(client.set(PERIOD, "", nx=True, px=life_ms))


def load_states(client: redis.Redis) -> dict[str, BackendState]:
    """Every backend's control state. What cannot be read any more is left out."""
    return _states(client.hgetall(STATES))


def load_counts(client: redis.Redis) -> dict[str, OwnCounts] | None:
    """What all gateways hold together, by backend; None when none has told within COUNTS_S."""
    gateways: Any = client.zrangebyscore(GATEWAYS, time.time() - FORGET_GATEWAY_S, "+inf")
    pages: Any = client.mget([COUNTS + _text(gateway) for gateway in gateways]) if gateways else []
    told = [counts for page in pages if page and (counts := _counts(page)) is not None]
    return summed(told) if told else None


def save_states(client: redis.Redis, states: Mapping[str, BackendState], gone: Iterable[str]) -> None:
    """Write the states, drop those of backends that left, and wake the gateways."""
    pipeline = client.pipeline(transaction=True)
    if states:
        pipeline.hset(STATES, mapping={name: _encode(state) for name, state in states.items()})
    if left := list(gone):
        pipeline.hdel(STATES, *left)
    pipeline.set(TICKED, time.time())
    pipeline.publish(WAKE, "")
    pipeline.execute()


# The gateways' and the console's side, on an event loop.


async def read_states(client: redis.asyncio.Redis) -> dict[str, BackendState]:
    """Every backend's control state, for the console."""
    found: Any = await _answer(client.hgetall(STATES))
    return _states(found)


async def ticked_at_s(client: redis.asyncio.Redis) -> float:
    """Unix time of the controller's last step; 0 when there was none."""
    return float(await client.get(TICKED) or 0)


async def publish_counts(
    client: redis.asyncio.Redis, gateway_id: str, counts: Mapping[str, OwnCounts]
) -> None:
    """Tell the controller what this gateway holds at each backend; it lives COUNTS_S."""
    now_s = time.time()
    pipeline = client.pipeline(transaction=False)
    pipeline.set(COUNTS + gateway_id, _encode(dict(counts)), ex=COUNTS_S)
    pipeline.zadd(GATEWAYS, {gateway_id: now_s})
    pipeline.zremrangebyscore(GATEWAYS, 0, now_s - FORGET_GATEWAY_S)
    await pipeline.execute()


async def withdraw_counts(client: redis.asyncio.Redis, gateway_id: str) -> None:
    """This gateway ends: what it held is held no more."""
    pipeline = client.pipeline(transaction=False)
    pipeline.delete(COUNTS + gateway_id)
    pipeline.zrem(GATEWAYS, gateway_id)
    await pipeline.execute()


@asynccontextmanager
async def wake_ups(client: redis.asyncio.Redis) -> AsyncIterator[PubSub]:
    """A subscription to the controller's wake-up; wait on it with ``woken``."""
    async with client.pubsub(ignore_subscribe_messages=True) as subscription:
        await subscription.subscribe(WAKE)
        yield subscription


async def woken(subscription: PubSub, within_s: float) -> bool:
    """Wait for a wake-up; False when none came in time. Raises RedisError when Valkey is away."""
    ends_s = time.monotonic() + within_s
    while (left_s := ends_s - time.monotonic()) > 0:
        if await subscription.get_message(ignore_subscribe_messages=True, timeout=left_s):
            return True
    return False


def _states(found: Mapping[Any, Any]) -> dict[str, BackendState]:
    states: dict[str, BackendState] = {}
    for name, page in found.items():
        try:
            states[_text(name)] = _decode_state(page)
        except msgspec.MsgspecError:  # written by another version: this backend begins again
            continue
    return states


def _counts(page: bytes) -> dict[str, OwnCounts] | None:
    try:
        return _decode_counts(page)
    except msgspec.MsgspecError:
        return None


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


async def _answer(pending: Any) -> Any:
    # redis-py types one method for both of its clients
    return await pending
