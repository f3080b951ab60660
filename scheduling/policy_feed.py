"""Keeps one process on the newest rules: woken by Postgres, sure by asking."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import django.db
import psycopg
from django.db import connection, connections

from scheduling.services.edits import COMMAND_CHANNEL, REVISION_CHANNEL

logger = logging.getLogger(__name__)

ASK_EVERY_S = 1.0  # a wake-up may be lost, so every process also asks
APART_S = 0.1  # a burst of edits makes one reload
LISTENER = "fairlane policy feed"
ANSWER_WITHIN_S = 5.0  # a half-open connection must not look like quiet
FIRST_RETRY_S = 0.1
LONGEST_RETRY_S = 5.0
GATEWAY_LOCK = 0x66_61_69_72  # "fair": held by the one gateway process that may seat requests

AWAY = (psycopg.Error, django.db.Error, OSError, TimeoutError)

ASK = """
    SELECT number, EXISTS (
        SELECT 1 FROM scheduling_command WHERE done_at IS NULL AND claimed_by = '' AND expires_at > now()
    )
    FROM scheduling_revision WHERE id = 1
"""

T = TypeVar("T")


class PolicyFeed(Generic[T]):
    """Loads a snapshot whenever the revision moved, and hands it over whole.

    ``load`` runs in a thread with a Django connection of its own; ``apply``
    and ``on_command`` run on the loop and must be quick. ``on_command`` means
    "there are commands to claim", and may be called when there are none left.
    With a ``lock_key`` only one process at a time has ``may_seat``.
    """

    def __init__(
        self,
        load: Callable[[], T],
        apply: Callable[[T], None],
        *,
        on_command: Callable[[], None] | None = None,
        lock_key: int | None = None,
    ) -> None:
        self._load = load
        self._apply = apply
        self._on_command = on_command
        self._lock_key = lock_key
        self._locked = False
        self._said_waiting = False
        self._revision: int | None = None
        self._current_at = -math.inf
        self.may_seat = lock_key is None
        """Whether this process holds the lock, or held it when Postgres went away."""
        self.loaded = asyncio.Event()
        """Set from the first snapshot on."""

    @property
    def age_s(self) -> float:
        """Seconds since the rules in force were last known to be the newest.

        Infinite before the first, and while another process has this one's
        seat: new rules are not obeyed then, so a revoked API token would pass.
        """
        return time.monotonic() - self._current_at if self.may_seat else math.inf

    async def run(self) -> None:
        """Follow the rules until cancelled. Postgres may come and go."""
        retry_s = FIRST_RETRY_S
        while True:
            try:
                async with await _connect() as listening:
                    await self._listen(listening)
                    while True:
                        await self._turn(listening)
                        retry_s = FIRST_RETRY_S
            except AWAY as trouble:
                logger.warning("The rules cannot be read; the last ones stay in force: %r", trouble)
            except Exception:  # one bad edit must not end the reading of all that mend it
                logger.exception("The newest rules cannot be obeyed; the last ones stay in force")
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, LONGEST_RETRY_S)

    async def _listen(self, listening: psycopg.AsyncConnection[Any]) -> None:
        self._locked = False  # a lock ends with its connection
        for channel in (REVISION_CHANNEL, COMMAND_CHANNEL):
            await listening.execute(f"LISTEN {channel}".encode())

    async def _turn(self, listening: psycopg.AsyncConnection[Any]) -> None:
        """Ask once, reload if needed, then wait to be woken or for the next time to ask."""
        began = time.monotonic()
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await self._try_lock(listening)
            number, commands = await _ask(listening)
        if number != self._revision:
            self._apply(await asyncio.to_thread(self._load_here))
            self._revision = number
            self.loaded.set()
        self._current_at = began
        if commands and self._on_command:
            self._on_command()
        async for _ in listening.notifies(timeout=ASK_EVERY_S, stop_after=1):
            pass
        await asyncio.sleep(began + APART_S - time.monotonic())

    async def _try_lock(self, listening: psycopg.AsyncConnection[Any]) -> None:
        if self._lock_key is None or self._locked:
            return
        cursor = await listening.execute("SELECT pg_try_advisory_lock(%s)", [self._lock_key])
        row = await cursor.fetchone()
        had_seat, self._locked = self.may_seat, bool(row and row[0])
        self.may_seat = self._locked
        if self._locked and not had_seat:
            self._revision = None  # what was loaded without a seat was not obeyed
        if not self._locked and not self._said_waiting:
            logger.warning(
                "Another gateway process serves from this database; this one waits for it to end. "
                "To run several, set REDIS_URL and --workers."
            )
        self._said_waiting = not self._locked

    def _load_here(self) -> T:
        try:
            return self._load()
        finally:
            connection.close()  # this thread's, back to the pool


async def _ask(listening: psycopg.AsyncConnection[Any]) -> tuple[int, bool]:
    """The newest revision, and whether commands wait."""
    cursor = await listening.execute(ASK)
    row = await cursor.fetchone()
    if row is None:
        raise psycopg.DataError("the revision row is missing; run `manage.py migrate`")
    return int(row[0]), bool(row[1])


async def _connect() -> psycopg.AsyncConnection[Any]:
    """A connection of our own to Django's database: a pooled one cannot listen."""
    wanted = connections["default"].get_connection_params()
    for for_django in ("cursor_factory", "context"):
        wanted.pop(for_django, None)
    wanted.setdefault("connect_timeout", int(ANSWER_WITHIN_S))
    wanted["application_name"] = LISTENER  # as pg_stat_activity shows it
    return await psycopg.AsyncConnection.connect(**wanted, autocommit=True)
