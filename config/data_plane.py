"""The composition root of a gateway process: builds the parts, feeds them, and ends them in order."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic, time
from typing import Any

from django.conf import settings
from django.db import connection

from config import bookkeeping
from gateway import selectors
from gateway.bygone import Bygone
from gateway.callers import CallerTable
from gateway.commands import CommandRunner
from gateway.ledger import Ledger
from gateway.records import Away
from gateway.relay import Relay, RelayOptions
from gateway.serve import Gateway, Parts
from gateway.settings import Settings
from gateway.snapshots import SnapshotPublisher
from gateway.steering import act
from gateway.used import used
from scheduling import selectors as scheduling_selectors
from scheduling.control_feed import ControlFeed
from scheduling.core.policy import Policy
from scheduling.core.quota import Key, Scope
from scheduling.dispatchers.memory import MemoryDispatcher
from scheduling.engines import orca
from scheduling.engines.endpoint import Endpoint
from scheduling.models import Command
from scheduling.policy_feed import GATEWAY_LOCK, PolicyFeed

log = logging.getLogger(__name__)

LAST_STORE_S = 1.0  # a stop waits so long for the last records; what is left is stored at the next start
SEAT_CHECK_S = 0.1  # how soon a gateway that waited for another to end begins to serve


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything Postgres says about one revision."""

    policy: Policy
    endpoints: Mapping[str, Endpoint]
    callers: CallerTable


class DataPlane:
    """One gateway process. ``start`` on its event loop, ``stop`` at the end."""

    def __init__(self) -> None:
        knobs = settings.KNOBS
        self._gateway_id = f"{socket.gethostname()}-{os.getpid()}"
        self._rules = Rules(Policy(revision=0), {}, CallerTable())
        self._dispatcher = MemoryDispatcher(self._rules.policy, _now_ms)
        self._relay = Relay(relay_options(knobs), self._hear)
        self._journal = bookkeeping.journal(knobs, self._gateway_id)
        self._bygone = Bygone(self._used)
        self._ledger = Ledger(self._bygone)
        self.gateway = self._build_gateway(knobs)
        commands = CommandRunner(self._gateway_id, self._holds, self._act)
        self._feed = PolicyFeed(
            lambda: load_rules(self._rules), self._obey, on_command=commands.wake, lock_key=GATEWAY_LOCK
        )
        self._publisher = SnapshotPublisher(
            self._gateway_id,
            self._dispatcher,
            lambda: self._rules.policy,
            float(knobs["FAIRLANE_SNAPSHOT_EVERY_S"]),
        )
        self._control = ControlFeed(
            self._gateway_id,
            self._dispatcher,
            lambda: (self._rules.policy, self._rules.endpoints),
            float(knobs["FAIRLANE_POLL_EVERY_S"]),
            float(knobs["FAIRLANE_METRICS_STALE_S"]),
        )
        self._work = (
            self._feed.run,
            commands.run,
            self._publisher.run,
            self._control.run,
            self._wait_for_seat,
            self._learn,
        )
        self._announcing: asyncio.Task[None] | None = None
        self._chores: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to follow rules and limits; requests are taken as soon as the rules are here."""
        self._journal.start()
        self.gateway.start()
        self._chores = [asyncio.create_task(each(), name=each.__qualname__) for each in self._work]
        for chore in self._chores:
            chore.add_done_callback(_told_if_dead)

    async def drain(self) -> None:
        """Take no new requests; those that run may end within FAIRLANE_DRAIN_S, the rest are told why not.

        A second call waits for nobody again.
        """
        if self.gateway.draining:
            return
        if left := await self.gateway.drain(float(settings.KNOBS["FAIRLANE_DRAIN_S"])):
            log.warning("%d requests were cut off after the drain time", left)

    async def stop(self) -> None:
        """End the parts from the outside in."""
        await self.drain()
        await self._store_all()
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        await self.gateway.stop()
        await self._relay.close()
        self._dispatcher.close()
        await self._control.close()
        await self._publisher.close()
        await asyncio.to_thread(self._journal.stop)

    def _build_gateway(self, knobs: Mapping[str, int | float | str]) -> Gateway:
        return Gateway(
            Parts(
                dispatcher=self._dispatcher,
                relay=self._relay,
                journal=self._journal,
                feed_age_s=lambda: self._feed.age_s,
                salt=hashlib.sha256(b"user ids" + settings.SECRET_KEY.encode()).digest(),
                settings=Settings.from_knobs(knobs),
                ledger=self._ledger,
            )
        )

    async def _store_all(self) -> None:
        """While the seat is still ours: the process that takes it next reads what was used of the quotas."""
        with suppress(Away, TimeoutError):
            async with asyncio.timeout(LAST_STORE_S):
                await asyncio.to_thread(self._journal.replay)

    async def _learn(self) -> None:
        await self._bygone.run(self._ledger.remember)

    def _used(self, scopes: Sequence[Scope]) -> Mapping[Key, Mapping[str, int]]:
        """What was used of these quotas, with all that stands in journals. Runs in a thread."""
        self._journal.replay()
        try:
            return used(scopes, datetime.now(UTC))
        finally:
            connection.close()

    def _hear(self, backend: str, report: bytes) -> None:
        """An engine told its load with an answer: as good as a reading, and sooner."""
        if load := orca.read(backend, report, time()):
            self._control.hear(load)

    def _obey(self, rules: Rules) -> None:
        self._rules = rules
        if self._feed.may_seat:
            self._swap()

    def _swap(self) -> None:
        self._relay.set_endpoints(self._rules.endpoints)
        self.gateway.set_callers(self._rules.callers)
        self.gateway.set_policy(self._rules.policy)
        self._announcing = asyncio.create_task(self._publisher.announce())

    async def _wait_for_seat(self) -> None:
        """Take over when the gateway process that served before us has ended."""
        await self._feed.loaded.wait()
        while not self._feed.may_seat:  # noqa: ASYNC110 - another process's end sends no event here
            await asyncio.sleep(SEAT_CHECK_S)
        if self.gateway.policy is None:
            self._swap()

    def _holds(self, request_id: str) -> bool:
        return self._dispatcher.position(request_id) is not None

    async def _act(self, command: Command) -> dict[str, Any]:
        result = act(self._dispatcher, command.kind, command.target)
        if command.kind != Command.Kind.EXPLAIN:
            await self._publisher.announce()
        return result


def load_rules(previous: Rules | None = None) -> Rules:
    """One consistent read of everything a gateway obeys."""
    with scheduling_selectors.consistent_read():
        return Rules(
            scheduling_selectors.policy(),
            scheduling_selectors.endpoints(),
            selectors.callers(previous.callers if previous else None),
        )


def relay_options(knobs: Mapping[str, int | float | str]) -> RelayOptions:
    """The relay's patience and bounds, from the knobs."""
    return RelayOptions(
        connect_s=float(knobs["FAIRLANE_CONNECT_TIMEOUT_S"]),
        first_byte_s=float(knobs["FAIRLANE_FIRST_BYTE_TIMEOUT_S"]),
        stall_s=float(knobs["FAIRLANE_STALL_TIMEOUT_S"]),
        answer_s=float(knobs["FAIRLANE_ANSWER_TIMEOUT_S"]),
        event_bytes=int(knobs["FAIRLANE_EVENT_BYTES"]),
        link_local=bool(knobs["FAIRLANE_LINK_LOCAL_BACKENDS"]),
    )


def _now_ms() -> int:
    return int(monotonic() * 1000)


def _told_if_dead(chore: asyncio.Task[None]) -> None:
    if not chore.cancelled() and (error := chore.exception()):
        log.error("%s ended, and this gateway goes on without it", chore.get_name(), exc_info=error)
