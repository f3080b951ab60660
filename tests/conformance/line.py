"""Requests as tasks, for tests of dispatchers."""

from __future__ import annotations

import asyncio
import time

from scheduling.core.policy import BackendRule, Policy, PoolRule, TenantRule
from scheduling.core.ticket import Ticket
from scheduling.core.usage import Usage

POOL = "main"
PATIENCE_S = 5.0  # a claim that has not come true by then is false


def rules(revision: int = 1, *, seats: int = 1, models=("llama",), tenants=(), **pool) -> Policy:
    return Policy(
        revision,
        tenants={rule.slug: rule for rule in tenants},
        pools={POOL: PoolRule(POOL, **pool)},
        backends={"gpu-0": BackendRule("gpu-0", POOL, frozenset(models), seats)},
    )


def suspended(slug: str) -> TenantRule:
    return TenantRule(slug, suspended=True)


def ticket(name: str, **fields) -> Ticket:
    defaults = {
        "pool": POOL,
        "model": "llama",
        "tenant": name.partition("-")[0],
        "user": "user",
        "priority_class": "standard",
        "prompt_tokens": 60,
        "completion_tokens": 20,
        "queued_ms": time.monotonic_ns() // 1_000_000,
    }
    return Ticket(request_id=name, **{**defaults, **fields})


class Client:
    """One request: waits, holds its seat until ``go`` is called, and says when it was seated."""

    def __init__(self, dispatcher, seated: list[str], one: Ticket) -> None:
        self.ticket = one
        self.usage = Usage(prompt_tokens=60, completion_tokens=20)
        self.lease = None
        self._dispatcher = dispatcher
        self._seated = seated
        self._go = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    def go(self) -> None:
        self._go.set()

    async def _run(self) -> None:
        async with self._dispatcher.lease(self.ticket, self.usage) as lease:
            self.lease = lease
            self._seated.append(self.ticket.request_id)
            await self._go.wait()


class Line:
    """Everybody in front of one dispatcher."""

    def __init__(self, dispatcher) -> None:
        self.dispatcher = dispatcher
        self.seated: list[str] = []
        self.clients: dict[str, Client] = {}

    async def join(self, *names: str, **fields) -> None:
        """Requests that arrive one after the other."""
        for name in names:
            self.clients[name] = Client(self.dispatcher, self.seated, ticket(name, **fields))
            await self.until(lambda name=name: self._arrived(name))

    async def end(self, name: str) -> None:
        self.clients[name].go()
        await asyncio.wait_for(self.clients[name].task, PATIENCE_S)

    async def end_all(self) -> list[str]:
        """End whoever holds a seat until nobody is left; the order of seats."""
        for client in self.clients.values():
            client.go()
        await asyncio.wait_for(
            asyncio.gather(*(client.task for client in self.clients.values()), return_exceptions=True),
            PATIENCE_S,
        )
        return self.seated

    async def until(self, claim) -> None:
        """Let others run until the claim is true."""
        async with asyncio.timeout(PATIENCE_S):
            while not claim():
                await asyncio.sleep(0.001)

    def counts(self) -> tuple[int, int]:
        """Waiting, running."""
        (view,) = self.dispatcher.view()
        return view.queued, view.in_flight

    def _arrived(self, name: str) -> bool:
        client = self.clients[name]
        waits = self.dispatcher.position(name) is not None
        return waits or client.lease is not None or client.task.done()
