"""A gateway's control feed over a real dispatcher and a real Valkey."""

from __future__ import annotations

import asyncio
import contextlib
import time

from scheduling.control_feed import ControlFeed
from scheduling.core.control import BackendState
from scheduling.dispatchers.memory import MemoryDispatcher
from tests.fakes.waiting import clock_ms
from tests.integration.control.known import rules, state_of


@contextlib.asynccontextmanager
async def gateway(engine, period_s: float = 0.05, known=None):
    """(dispatcher, feed) of gateway-a, under ``known`` rules or those of one engine."""
    policy, endpoints = known or rules(engine.url)
    dispatcher = MemoryDispatcher(policy, clock_ms)
    feed = ControlFeed("gateway-a", dispatcher, lambda: (policy, endpoints), period_s, stale_after_s=10)
    running = asyncio.create_task(feed.run())
    try:
        yield dispatcher, feed
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await feed.close()
        dispatcher.close()


def gate(dispatcher: MemoryDispatcher, backend: str = "gpu-0"):
    return next(gate for gate in dispatcher.view()[0].backends if gate.backend == backend)


def decided(window: int, **more) -> BackendState:
    now_s = time.time()
    told = {"given_window": window, "epoch": 5, "ticked_at_s": now_s, "decided_at_s": now_s, **more}
    return state_of("gpu-0", **told)
