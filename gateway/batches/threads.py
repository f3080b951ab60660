"""Database work of the data plane's event loop, in a thread that keeps no connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import django.db
from django.db import connection

from gateway.batches.errors import StorageAway

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of work that reads or writes the database. Raises StorageAway when that does not answer."""
    try:
        return await asyncio.to_thread(_closing, partial(work, *args, **kwargs))
    except (django.db.OperationalError, django.db.InterfaceError):
        raise StorageAway from None


def _closing(work: Callable[[], T]) -> T:
    try:
        return work()
    finally:
        connection.close()
