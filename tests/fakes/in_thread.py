"""An asynchronous context that lives in a thread of its own, for tests that are not asynchronous."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
PATIENCE_S = 30


@contextmanager
def in_thread(context: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
    """What the context gives, while its event loop runs elsewhere."""
    entered: Future[tuple[T, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def live() -> None:
        async with context() as value:
            end = asyncio.Event()
            entered.set_result((value, asyncio.get_running_loop(), end))
            await end.wait()

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:
            if not entered.done():
                entered.set_exception(error)
            else:
                raise

    thread = Thread(target=run)
    thread.start()
    value, loop, end = entered.result(PATIENCE_S)
    try:
        yield value
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(PATIENCE_S)
