"""The data plane: what happens to one request, from its first byte to its one record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.answer import pass_on
from gateway.books import Books
from gateway.callers import Caller, CallerTable
from gateway.ceilings import Ceilings
from gateway.client import Client
from gateway.doorman import Doorman
from gateway.endpoints import Endpoint
from gateway.engine_errors import EngineFailed, EngineRefused
from gateway.errors import (
    BudgetExhausted,
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
from gateway.held_bodies import HeldBodies
from gateway.jobs import Job, Parser
from gateway.journal import Journal
from gateway.ledger import Ledger
from gateway.own.state import Own
from gateway.pulse import Pulse
from gateway.relay import Relay, Reply
from gateway.settings import Settings
from gateway.work import Work
from scheduling.core.policy import Policy
from scheduling.core.quota import Holder
from scheduling.dispatchers.base import Dispatcher, Lease, Unseated

LAST_WORDS_S = 1.0  # for a request that is cut off to say so
ROOM_FOR_ASIDES = 500  # of them at once, beside as many requests as may be
AGAIN = (BackendFailure, Unseated, EngineFailed)  # what another backend, or model, may help against
TIDY_EVERY_S = 60.0  # between two looks for tenants whose quota state can be forgotten


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
        self.bodies = HeldBodies(parts.settings.bodies_bytes)
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

    def serve(
        self,
        client: Client,
        caller: Caller,
        endpoint: Endpoint,
        body: bytes,
        policy: Policy | None = None,
        said: Said | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Run one request, of the client's headers and this whole body.

        ``policy`` is the one in force and ``said`` what the headers ask the parser for, if these are known.
        Raises Refused when it may not run, or fails. However it ends (last byte, broken engine, client
        gone), the engine is told to stop, the seat is free and its flow charged, the quota is settled,
        and the one usage record is written. Until an answer begins, a model whose backends all fail is
        followed by the fallbacks.
        """
        policy = policy or self._in_force()
        parser, headers = self._parser, client.headers
        if endpoint.form:
            job = parser.parse_form(endpoint, headers, body, caller, policy, said)
        else:
            job = parser.parse(endpoint, headers, body, caller, policy, said)
        if job.fallbacks and not self._serves(job):
            job = self._next(job, policy) or job  # if none serves, it waits for the first
        holders = job.terms.holders
        if holders is None:
            return self._run_once_known(job, client, policy)
        return self._run(job, holders, client, policy)

    async def _run_once_known(self, job: Job, client: Client, policy: Policy) -> None:
        await self._run(job, await self._holders(job, client), client, policy)

    async def _run(self, job: Job, holders: Sequence[Holder], client: Client, policy: Policy) -> None:
        work = Work()
        work.accept(job, client, self.books, self.dispatcher, self._ledger)
        try:
            work.reserve(holders)
            while True:
                try:
                    lease = self.dispatcher.lease(work.ticket, work.usage)
                    if not lease.at_once():
                        await lease.wait(client if client.work is None else None)
                        work.waited()
                    if job.patience_ms is not None:
                        self._check_patience(work, lease)
                    reply = work.ask(lease, self._relay)
                    if reply.source is not None:
                        await reply.change()
                    if not work.sends(reply, self._relay):
                        await self._pass_on(work, reply)
                    break
                except AGAIN as failure:
                    await self._again(work, failure, policy)
        except BaseException as error:
            work.end(error)
            raise
        work.end(None)

    async def _pass_on(self, work: Work, reply: Reply) -> None:
        """Send an answer that did not come at once, or that cannot be sent at once."""
        if reply.plain_body is None:
            await self._relay.see(reply)
        await pass_on(reply, work.client, work.replied(), stream=work.job.stream)

    def check_in(self, headers: Mapping[bytes, bytes], *, aside: bool = False) -> tuple[Policy, Caller]:
        """The rules in force and who is calling. Raises Refused.

        Asides find room when requests find none: that is when owners look, and cancel.
        """
        policy = self._in_force()
        too_many = len(self.pulse.clients) - self.settings.max_requests
        if too_many > 0 and not (aside and too_many <= ROOM_FOR_ASIDES):
            raise Overloaded
        return policy, self._doorman.admit(headers)

    def check_again(self, headers: Mapping[bytes, bytes]) -> Caller:
        """Who is calling, as of now: a body that was long on its way must not outlive a revoke."""
        return self._doorman.admit(headers)

    def _check_patience(self, work: Work, lease: Lease) -> None:
        try:
            self.books.first_tokens.check(work.ticket, work.job.patience_ms, lease)
        except QueueTimeout:
            lease.leave()
            raise

    async def _again(
        self, work: Work, failure: BackendFailure | Unseated | EngineFailed, policy: Policy
    ) -> None:
        """Have the work ask another backend, or for another model, or raise what it ends with."""
        work.unseat(failure)
        failure.__traceback__ = None  # by its frames it holds the reply, and is held by that
        try:
            pause_s = work.try_again(failure)
        except EngineRefused:
            raise  # another model would be asked the same wrong thing
        except (EngineFailed, NoBackendNow):
            if not await self._fall_back(work, policy):
                raise
        else:
            self.books.metrics.retries[work.ticket.attempt] += 1
            await asyncio.sleep(pause_s)
        work.waited()

    async def _fall_back(self, work: Work, policy: Policy) -> bool:
        """Have the work ask for the next of its fallbacks; False if there is none."""
        is_refused = False
        while work.may_fall_back and (other := self._next(work.job, policy)) is not None:
            work.fall_back(other)
            self.books.metrics.retries[work.ticket.attempt] += 1
            holders = await self._holders(other, work.client)
            try:
                work.reserve(holders)
            except (RateLimited, BudgetExhausted, QueueFull):
                is_refused = True
            else:
                return True
        if is_refused:  # what the tenant may not use is no backend
            raise work.failure or NoBackendNow from None
        return False

    async def _holders(self, job: Job, client: Client) -> Sequence[Holder]:
        await client.in_task()
        return await self._ledger.holders(job.terms)

    def _next(self, job: Job, policy: Policy) -> Job | None:
        """The same job for the first of its fallbacks that some backend serves now."""
        while job.fallbacks:
            job = self._parser.fall_back(job, policy)
            if self._serves(job):
                return job
        return None

    def _serves(self, job: Job) -> bool:
        return self.dispatcher.serves(job.terms.pool, job.terms.model)

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
        """Begin the chores of the running event loop, before the first request."""
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
        policy, age_s = self.policy, self._feed_age_s
        if policy is None or age_s() > self.settings.policy_stale_s:
            raise PolicyStale
        return policy

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_EVERY_S)
            self._ledger.forget_idle()
            self.books.count()
            self.own.tidy()
