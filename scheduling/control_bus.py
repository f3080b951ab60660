"""What controller, gateways and console tell one another in Valkey: states, counts and a wake-up."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import redis
import redis.asyncio
from redis.asyncio.client import PubSub

from scheduling.control_step import summed
from scheduling.core.control import BackendState, OwnCounts
from scheduling.core.limits import EngineLoad
from scheduling.engines.schedule import Slot

STATES = "fairlane:control:states"  # hash: backend -> BackendState as JSON
COUNTS = "fairlane:control:counts:"  # + gateway: GatewayWord as JSON
COUNTS_S = 5  # a gateway that is silent this long holds nothing as far as the controller knows
GATEWAYS = "fairlane:control:gateways"  # sorted set: gateway by the time it last told
FORGET_GATEWAY_S = 60
TICKED = "fairlane:control:ticked"  # Unix time of the last control step, also without any backend
PERIOD = "fairlane:control:period"  # exists while somebody plans the readings of this beat
TAKEN = "fairlane:control:taken:"  # + slot: exists when somebody makes or made this reading
TAKEN_PERIODS = 3  # how many of its periods a slot stays taken; then it is long past
READING = "fairlane:control:reading:"  # + backend: exists while somebody reads it
WAKE = "fairlane:control:wake"  # channel: states changed. Carries no data and may be lost


@dataclass(frozen=True, slots=True)
class GatewayWord:
    """What one gateway tells, by backend. ``alone``: it reads the engines itself, for no controller does."""

    counts: dict[str, OwnCounts] = field(default_factory=dict)
    heard: dict[str, EngineLoad] = field(default_factory=dict)  # the newest load told in a response's header
    alone: bool = False


_encode = msgspec.json.Encoder().encode
_decode_state = msgspec.json.Decoder(BackendState).decode
_decode_word = msgspec.json.Decoder(GatewayWord).decode


# The controller's side, in a thread.


def take_period(client: redis.Redis, period_s: float) -> bool:
    """Whether this process plans the beat that begins now."""
    # A little less than the period, so that a beat that comes early by its jitter finds it free.
    life_ms = max(1, round(period_s * 800))
    return bool(client.set(PERIOD, "", nx=True, px=life_ms))


def take_slots(client: redis.Redis, slots: Sequence[Slot], hold_s: float) -> list[Slot]:
    """Those of these readings that are this process's to make now.

    Each slot is taken once, by whoever comes first. A backend that is being
    read is not read a second time at once: it is held until ``release``, at
    most ``hold_s``, and its slot passes.
    """
    free = _set_each(client, [(TAKEN + slot.name, slot.period_s * TAKEN_PERIODS) for slot in slots])
    mine = [slot for slot, got in zip(slots, free, strict=True) if got]
    idle = _set_each(client, [(READING + slot.endpoint.backend, hold_s) for slot in mine])
    return [slot for slot, got in zip(mine, idle, strict=True) if got]


def release(client: redis.Redis, backends: Iterable[str]) -> None:
    """These backends are read; the next may begin."""
    if names := [READING + backend for backend in backends]:
        client.delete(*names)


def load_states(client: redis.Redis, backends: Sequence[str] | None = None) -> dict[str, BackendState]:
    """Control states, of all backends or of these. What cannot be read any more is left out."""
    if backends is None:
        return _states(client.hgetall(STATES))
    pages: Any = client.hmget(STATES, list(backends)) if backends else []
    return _states({name: page for name, page in zip(backends, pages, strict=True) if page})


def load_words(client: redis.Redis) -> dict[str, GatewayWord]:
    """What each gateway told last, by gateway; those that are silent for COUNTS_S are not in it."""
    gateways: Any = client.zrangebyscore(GATEWAYS, time.time() - FORGET_GATEWAY_S, "+inf")
    return _words(gateways, client.mget([COUNTS + _text(name) for name in gateways]) if gateways else [])


def counts_of(words: Collection[GatewayWord]) -> dict[str, OwnCounts] | None:
    """What these gateways hold together; None when there are none."""
    return summed(word.counts for word in words) if words else None


def heard_by(words: Iterable[GatewayWord]) -> dict[str, EngineLoad]:
    """The newest load that any of these gateways heard in a response, by backend."""
    newest: dict[str, EngineLoad] = {}
    for word in words:
        for backend, load in word.heard.items():
            if backend not in newest or load.read_at_s > newest[backend].read_at_s:
                newest[backend] = load
    return newest


def begin_beat(client: redis.Redis, known: Collection[str]) -> None:
    """Say that the controller is alive, also when no engine is due; drop backends that left the rules."""
    save_states(client, {}, [name for name in map(_text, _list(client.hkeys(STATES))) if name not in known])


def save_states(client: redis.Redis, states: Mapping[str, BackendState], gone: Iterable[str] = ()) -> None:
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


async def read_words(client: redis.asyncio.Redis) -> dict[str, GatewayWord]:
    """What each gateway told last, for the console: ``alone`` is its word for "no controller"."""
    since_s = time.time() - FORGET_GATEWAY_S
    gateways: Any = await _answer(client.zrangebyscore(GATEWAYS, since_s, "+inf"))
    pages = await client.mget([COUNTS + _text(name) for name in gateways]) if gateways else []
    return _words(gateways, pages)


async def publish_word(client: redis.asyncio.Redis, gateway_id: str, word: GatewayWord) -> None:
    """Tell what this gateway holds and hears at each backend; it lives COUNTS_S."""
    now_s = time.time()
    pipeline = client.pipeline(transaction=False)
    pipeline.set(COUNTS + gateway_id, _encode(word), ex=COUNTS_S)
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


def _words(gateways: Iterable[Any], pages: Iterable[Any]) -> dict[str, GatewayWord]:
    words: dict[str, GatewayWord] = {}
    for gateway, page in zip(gateways, pages, strict=True):
        try:
            if page:
                words[_text(gateway)] = _decode_word(page)
        except msgspec.MsgspecError:  # of another version: it says nothing that is understood here
            continue
    return words


def _set_each(client: redis.Redis, keys: Iterable[tuple[str, float]]) -> list[bool]:
    """Which of these keys were free; each is now taken for its seconds."""
    pipeline = client.pipeline(transaction=False)
    for key, life_s in keys:
        pipeline.set(key, "", nx=True, px=max(1, round(life_s * 1000)))
    return [bool(got) for got in pipeline.execute()]


def _list(found: Any) -> list[Any]:
    # redis-py types one method for both of its clients
    return list(found)


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


async def _answer(pending: Any) -> Any:
    # redis-py types one method for both of its clients
    return await pending
