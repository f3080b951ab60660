"""The data plane: what happens to one request, from its first byte to its one record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from gateway.answer import pass_on, pass_on_at_once
from gateway.books import Books
from gateway.callers import Caller, CallerTable
from gateway.ceilings import Ceilings
from gateway.client import Client
from gateway.doorman import Doorman
from gateway.endpoints import Endpoint
from gateway.engine_errors import EngineFailed, EngineRefused
from gateway.errors import (
    BudgetExhausted,
    CancelledInQueue,
    Draining,
    NoBackendNow,
    Overloaded,
    PolicyStale,
    QueueFull,
    QueueTimeout,
    RateLimited,
)
from gateway.failures import BackendFailure
from gateway.heads import Said
from gateway.jobs import Job, Parser
from gateway.journal import Journal
from gateway.ledger import Ledger, Reservation
from gateway.own.state import Own
from gateway.pulse import Pulse
from gateway.relay import Relay
from gateway.settings import Settings
from gateway.work import Work
from scheduling.core.policy import Policy
from scheduling.core.quota import Scope
from scheduling.dispatchers.base import CancelledByAdmin, DeadlinePassed, Dispatcher, NoBackend

LAST_WORDS_S = 1.0  # for a request that is cut off to say so
ROOM_FOR_ASIDES = 500  # of them at once, beside as many requests as may be
TIDY_EVERY_S = 60.0  # between two looks for tenants whose quota state can be forgotten


class Request(msgspec.Struct, gc=False):
    """The HTTP message of a caller: headers by lower-case name, and the whole body."""

    caller: Caller
    endpoint: Endpoint
    headers: Mapping[bytes, bytes]
    body: bytes
    said: Said | None = None  # by the headers, if it is known


@dataclass(frozen=True, slots=True)
class Parts:
    """What a gateway is built from. ``feed_age_s`` says how long ago the rules were last confirmed."""

    dispatcher: Dispatcher
    relay: Relay
    journal: Journal
    feed_age_s: Callable[[], float]
    salt: bytes = field(repr=False)
    settings: Settings = field(default_factory=Settings)
    doorman: Doorman = field(default_factory=Doorman)
    ledger: Ledger = field(default_factory=Ledger)


class Gateway:
    """Serves the tenants' requests under the policy in force."""

    def __init__(self, parts: Parts) -> None:
        self.settings = parts.settings
        self.dispatcher = parts.dispatcher
        self.books = Books(parts.journal)
        self.policy: Policy | None = None
        self.draining = False
        self.pulse = Pulse(parts.settings)
        self.own = Own(parts.settings, parts.ledger)
        self._relay = parts.relay
        self._doorman = parts.doorman
        self._ledger = parts.ledger
        self._feed_age_s = parts.feed_age_s
        self._parser = Parser(
            parts.salt,
            self.books.estimates,
            parts.settings.queue_timeout_s,
            Ceilings.of(parts.settings),
        )
        self._chores: list[asyncio.Task[None]] = []

    async def serve(self, request: Request, client: Client, policy: Policy | None = None) -> None:
        """Run one request. Raises Refused when it may not run, or fails. ``policy``: if known to be in force.

        The blocks undo themselves from the inside out, however they end
        (last byte, broken engine, client gone): the engine is told to stop,
        the seat is free and its flow charged, the quota is settled, and the
        one usage record is written. While nothing of an answer is sent, a
        model whose backends all fail is followed by the job's fallbacks.
        """
        policy, caller = policy or self._in_force(), request.caller
        job = self._parser.parse(
            request.endpoint, request.headers, request.body, caller, policy, request.said
        )
        if job.fallbacks and not self.dispatcher.serves(job.pool, job.model):
            job = self._next(job, caller, policy) or job  # if none serves, it waits for the first
        tenant = job.terms.tenant
        scopes = self._ledger.scopes_at_hand(tenant, caller, job.model)
        if scopes is None:
            scopes = await self._ledger.scopes(tenant, caller, job.model)
        with Work(job, caller, client, self.books, self.dispatcher) as work:
            while True:
                try:
                    return await self._serve_by(work, scopes, client)
                except EngineRefused:
                    raise  # another model would be asked the same wrong thing
                except (EngineFailed, NoBackendNow):
                    other = self._next(work.job, caller, policy) if work.may_fall_back else None
                    if other is None:
                        raise
                work.fall_back(other)
                self.books.metrics.retries[work.ticket.attempt] += 1
                scopes = await self._ledger.scopes(tenant, caller, other.model)

    def check_in(self, headers: Mapping[bytes, bytes], *, aside: bool = False) -> tuple[Policy, Caller]:
        """The rules in force and who is calling. Raises Refused.

        Asides find room when requests find none: that is when owners look, and cancel.
        """
        policy = self._in_force()
        too_many = len(self.pulse.clients) - self.settings.max_requests
        if too_many > 0 and not (aside and too_many <= ROOM_FOR_ASIDES):
            raise Overloaded
        return policy, self._doorman.admit(headers)

    async def _serve_by(self, work: Work, scopes: Sequence[Scope], client: Client) -> None:
        """Have the work's model answer, by as many of its backends as it takes."""
        reservation = self._reserve(work, scopes)
        try:
            work.hold(reservation)
            while True:
                try:
                    return await self._ask(work, reservation, client)
                except BackendFailure as failure:
                    pause_s = work.try_again(failure)
                except DeadlinePassed:
                    raise work.out_of_reach or QueueTimeout from None
                except NoBackend:
                    raise work.failure or NoBackendNow from None
                except CancelledByAdmin:
                    raise CancelledInQueue from None
                reservation.requeued()
                self.books.metrics.retries[work.ticket.attempt] += 1
                await asyncio.sleep(pause_s)
        finally:
            reservation.settle()

    async def _ask(self, work: Work, reservation: Reservation, client: Client) -> None:
        """Wait for a seat, and have the engine there answer."""
        job, relay = work.job, self._relay
        lease = self.dispatcher.lease(work.ticket, work.usage)
        if not lease.at_once():
            await lease.wait()
        try:
            if job.patience_ms is not None:
                self.books.first_tokens.check(work.ticket, job.patience_ms, lease)
            work.seat(lease, reservation)
            try:
                call, order = work.call, lease.engine_order
                if order is not None:
                    call = relay.ordered(lease.backend, call, order)
                reply = await relay.ask(lease.backend, call, work.usage, work.started)
                try:
                    lines = work.replied(reply)
                    if not pass_on_at_once(reply, client, lines):
                        await pass_on(reply, client, lines, stream=job.stream)
                finally:
                    relay.leave(reply)
            except BaseException as error:
                work.unseat(lease, error)
                raise
            work.unseat(lease, None)
        finally:
            lease.leave()

    def _reserve(self, work: Work, scopes: Sequence[Scope]) -> Reservation:
        try:
            return self._ledger.reserve(scopes, work.ticket, work.record)
        except (RateLimited, BudgetExhausted, QueueFull):
            if work.ticket.attempt == 1:
                raise
            raise work.failure or NoBackendNow from None  # a fallback that the tenant may not use is none

    def _next(self, job: Job, caller: Caller, policy: Policy) -> Job | None:
        """The same job for the first of its fallbacks that some backend serves now."""
        while job.fallbacks:
            job = self._parser.fall_back(job, caller.tenant, policy)
            if self.dispatcher.serves(job.pool, job.model):
                return job
        return None

    def set_policy(self, policy: Policy) -> None:
        """Obey these rules from now on, for requests that already wait too."""
        self.policy = policy
        self._doorman.set_policy(policy)
        self._ledger.set_policy(policy)
        self.dispatcher.set_policy(policy)

    def set_callers(self, table: CallerTable) -> None:
        """Admit these callers from now on."""
        self._doorman.set_callers(table)
        self._ledger.set_callers(table)

    @property
    def ready(self) -> bool:
        """Rules and what was used of the quotas are loaded, and new requests are taken."""
        return self.policy is not None and self._ledger.ready and not self.draining

    def start(self) -> None:
        """Begin the chores of the running event loop. Call it as often as you like."""
        if not self._chores:
            loop = asyncio.get_running_loop()
            self.books.write_ends(loop.call_soon)
            self._chores = [loop.create_task(self.pulse.beat()), loop.create_task(self._tidy())]

    async def drain(self, within_s: float) -> int:
        """Take no new requests and wait for the running ones; how many had to be cut off in the end.

        Those are told: by an error event and a broken connection, never by a clean end.
        """
        self.draining = True
        if await self.pulse.quiet(within_s):
            return 0
        left = self.pulse.evict()
        await self.pulse.quiet(LAST_WORDS_S)
        return left

    async def stop(self) -> None:
        """End the chores. The relay and the journal belong to whoever built them."""
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        self._chores = []
        self.books.write_ends(lambda write: write())
        self.own.close()

    def _in_force(self) -> Policy:
        if self.draining:
            raise Draining
        if self.policy is None or self._feed_age_s() > self.settings.policy_stale_s:
            raise PolicyStale
        return self.policy

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_EVERY_S)
            self._ledger.forget_idle()
            self.books.count()
            self.own.tidy()
