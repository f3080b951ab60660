"""Database work of the data plane's event loop, in a thread that keeps no connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

import django.db

from gateway.batches.errors import StorageAway
from gateway.threads import closing

# Threads of their own: however many files come in, policy and commands are still read in time.
THREADS = 4

P = ParamSpec("P")
T = TypeVar("T")


_threads = ThreadPoolExecutor(THREADS, "files")


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of work that reads or writes the database. Raises StorageAway when that does not answer."""
    try:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_threads, closing, partial(work, *args, **kwargs))
    except (django.db.OperationalError, django.db.InterfaceError):
        raise StorageAway from None
