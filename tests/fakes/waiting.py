"""Time for tests: the clock that dispatchers get, and waiting for what happens elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 5.0
ASK_EVERY_S = 0.002


def clock_ms() -> int:
    return time.monotonic_ns() // 1_000_000


async def until(true: Callable[[], Any], patience_s: float = PATIENCE_S) -> None:
    """Wait for something that happens elsewhere; fail loudly when it does not."""
    async with asyncio.timeout(patience_s):
        while not true():
            await asyncio.sleep(ASK_EVERY_S)
