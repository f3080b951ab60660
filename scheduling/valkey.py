"""Connections to Valkey, the bus between processes. Nothing durable lives there."""

from __future__ import annotations

import asyncio
from functools import cache

import redis
import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

TIMEOUT_S = 2.0  # a bus that does not answer within two control periods is away


@cache
def sync_client() -> redis.Redis:
    """This process's client for threads: pooled, safe to share."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        # Once more on a connection that went stale; redis-py's own back-off would add seconds.
        retry=Retry(NoBackoff(), 1),
    )


def async_client() -> redis.asyncio.Redis:
    """A client for one event loop. Close it with ``aclose()``."""
    return redis.asyncio.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=AsyncRetry(NoBackoff(), 1),
    )


def asked_to_stop() -> bool:
    """Whether the running task was cancelled, even if the cancellation got lost on its way.

    redis-py sends a command through ``asyncio.wait_for``, which in Python 3.11
    swallows a cancellation that arrives in the instant when the sending is
    done. A loop that talks to Valkey until cancelled must ask this each turn,
    or it may go on for ever.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
