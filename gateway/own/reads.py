"""Reads of a tenant's own records: in threads, few at a time, and never for long."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import django.db
from django.db import connection, transaction

from gateway.own.errors import RecordsUnavailable
from gateway.threads import closing

AT_ONCE = 2  # connections and threads that consumers' questions may take from others
PATIENCE_S = 5.0  # of a consumer that asks, in line for a thread too

log = logging.getLogger("fairlane.gateway")

Found = TypeVar("Found")


class Reads:
    """Runs queries beside the event loop. Its threads begin with the first question."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="own-reads")

    async def run(self, query: Callable[[], Found]) -> Found:
        """What the query finds. Raises RecordsUnavailable when the database does not answer in time."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await loop.run_in_executor(self._threads, closing, _bounded, query)
        except TimeoutError:
            raise RecordsUnavailable from None
        except django.db.Error as trouble:
            log.warning("a consumer's records cannot be read: %r", trouble)
            raise RecordsUnavailable from None

    def close(self) -> None:
        """Take no more questions. One that runs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _bounded(query: Callable[[], Found]) -> Found:
    """In one transaction that the server gives up by itself: a thread cannot be stopped from outside."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{PATIENCE_S:g}s"])
        return query()
