"""A gateway for tests: the real data plane under uvicorn on a free port, without Django's pages.

cast = Cast.of("research", "chat")
async with running_gateway(cast.policy(), cast.callers(), {"gpu-0": engine.url}) as gateway:
    gateway.url; gateway.records; gateway.gateway.set_policy(...)
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import uvicorn

from gateway import tokens
from gateway.callers import Caller, CallerTable
from gateway.consumers import GatewayConsumer
from gateway.health import Health
from gateway.http_protocol import GatewayProtocol
from gateway.journal import Journal
from gateway.records import Record
from gateway.relay import Relay, RelayOptions
from gateway.serve import Gateway, Parts
from gateway.settings import Settings
from gateway.ws import SocketConsumer
from scheduling.core.policy import BackendRule, ClassRule, Policy, PoolRule, TenantRule
from scheduling.dispatchers.memory import MemoryDispatcher
from scheduling.engines.endpoint import Endpoint
from tests.fakes.waiting import clock_ms

DIRECT = True  # requests reach the consumer past uvicorn's ASGI; False: through it
MODEL = "demo-8b"
POOL = "main"
CLASSES = {
    "interactive": ClassRule("interactive", 0),
    "standard": ClassRule("standard", 1),
    "batch": ClassRule("batch", 2),
}


@dataclass(slots=True)
class Cast:
    """Tenants with one API token each."""

    secrets: dict[str, str]

    @classmethod
    def of(cls, *tenants: str) -> Cast:
        return cls({tenant: tokens.generate() for tenant in tenants})

    def callers(self, **changes) -> CallerTable:
        table = {
            tokens.digest(secret): replace(Caller(number, tenant, "test"), **changes)
            for number, (tenant, secret) in enumerate(self.secrets.items(), 1)
        }
        return CallerTable(1, MappingProxyType(table))

    def policy(
        self,
        backends: tuple[str, ...] = ("gpu-0",),
        quotas: Mapping[str, int] | None = None,
        refusing: Collection[str] = (),
        revision: int = 1,
        **backend,
    ) -> Policy:
        limits = {"quotas": MappingProxyType(quotas or {}), "refusing": {"": frozenset(refusing)}}
        tenants = {name: TenantRule(name, **limits) for name in self.secrets}
        return Policy(
            revision=revision,
            tenants=MappingProxyType(tenants),
            classes=MappingProxyType(CLASSES),
            pools=MappingProxyType({POOL: PoolRule(POOL)}),
            backends=MappingProxyType(
                {name: BackendRule(name, POOL, frozenset({MODEL}), **backend) for name in backends}
            ),
            models=MappingProxyType({MODEL: POOL}),
        )


@dataclass(slots=True)
class RunningGateway:
    """A gateway that serves."""

    url: str
    gateway: Gateway
    dispatcher: MemoryDispatcher
    relay: Relay
    server: uvicorn.Server
    records: list[Record] = field(default_factory=list)

    async def settled(self, count: int = 1) -> list[Record]:
        """The records, once there are so many."""
        async with asyncio.timeout(5):
            while len(self.records) < count:
                await asyncio.sleep(0.005)
        return self.records


@asynccontextmanager
async def running_gateway(
    policy: Policy | None,
    callers: CallerTable,
    endpoints: Mapping[str, str | Endpoint],
    *,
    settings: Settings | None = None,
    relay: RelayOptions | None = None,
    feed_age_s=lambda: 0.0,
    on_load=None,
    protocol=GatewayProtocol,
    ws="none",
) -> AsyncIterator[RunningGateway]:
    """The consumer on a free port. ``endpoints`` maps backend to URL or Endpoint; ``records`` fill up."""
    records: list[Record] = []
    dispatcher = MemoryDispatcher(policy or Policy(revision=0), clock_ms)
    line = Relay(relay or RelayOptions(), on_load)
    line.set_endpoints(
        {name: at if isinstance(at, Endpoint) else Endpoint(name, at) for name, at in endpoints.items()}
    )
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder), records.extend, every_s=0.02)
        journal.start()
        gateway = Gateway(
            Parts(
                dispatcher=dispatcher,
                relay=line,
                journal=journal,
                feed_age_s=feed_age_s,
                salt=b"test",
                settings=settings or Settings(),
            )
        )
        if policy:
            gateway.set_policy(policy)
        gateway.set_callers(callers)
        gateway.start()
        consumer = GatewayConsumer(gateway)
        http = partial(protocol, consumer.serve) if DIRECT else "httptools"
        async with serving(_application(gateway, consumer), http, ws) as (server, url):
            try:
                yield RunningGateway(url, gateway, dispatcher, line, server, records)
            finally:
                await gateway.drain(0)
                await gateway.stop()
                await line.close()
                dispatcher.close()
        journal.stop()


def _application(gateway: Gateway, consumer: GatewayConsumer):
    health = Health(gateway, may_read=lambda secret: False)

    socket = SocketConsumer(gateway)

    async def application(scope, receive, send):
        if scope["type"] == "websocket":
            await socket(scope, receive, send)
            return
        await (consumer if scope["path"].startswith("/v1") else health)(scope, receive, send)

    return application


@asynccontextmanager
async def serving(application, http="httptools", ws="none") -> AsyncIterator[tuple[uvicorn.Server, str]]:
    """An ASGI application under uvicorn on a free port of this event loop. ``http`` is uvicorn's option."""
    config = uvicorn.Config(
        application,
        host="127.0.0.1",
        port=0,
        http=http,
        ws=ws,
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    server.capture_signals = NoSignals
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.002)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield server, f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True
        await task


class NoSignals:
    """Ctrl-C belongs to the tests."""

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...
