"""The product's own ASGI application under uvicorn, in this event loop, on the test database.

async with running_plane() as plane:
    await plane.write(services.create_pool, name="main")
    plane.url, plane.data_plane
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvicorn
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection

from config.doors import GatewayDoors, Lifespan, NoDoor, SocketDoors
from gateway import services as gateway_services
from gateway.http_protocol import GatewayProtocol
from scheduling import selectors, services
from scheduling.policy_feed import APART_S
from tests.fakes.waiting import until

BY = "admin:ada"
MODEL = "sim-model"


@dataclass(slots=True)
class Plane:
    """A gateway that serves on a free port, and the rules it reads."""

    url: str
    doors: GatewayDoors

    @property
    def gateway(self):
        """The gateway itself, for what only it can tell."""
        return self.doors.plane.gateway

    def waiting(self) -> list[str]:
        """Our ids of the requests in line. No API tells them before the requests page does."""
        schedulers = self.gateway.dispatcher.schedulers.values()
        return [name for one in schedulers for name, entry in one._entries.items() if entry.waiting]

    async def write(self, service: Callable[..., Any], *args, **kwargs) -> Any:
        """Call a service in a thread, as a view would."""
        return await sync_to_async(_closing)(service, *args, by=BY, **kwargs)

    async def write_admin_token(self, *scopes: str) -> Any:
        """An API token of an admin's, for the control API."""
        await sync_to_async(_closing)(User.objects.create_user, "ada")
        return await self.write(gateway_services.issue_admin_token, admin="ada", name="script", scopes=scopes)

    async def setup(
        self, engines, tenants: dict[str, dict[str, Any]], *, fairness="token_fair", seats=2, **backend
    ):
        """A pool of these engines and these tenants, each with an API token: tenant to secret."""
        await self.write(services.create_pool, name="main")
        await self.write(services.create_model, name=MODEL, pool="main")
        await self.write(services.set_policy, "main", fairness=fairness)
        for n, engine in enumerate(engines):
            settings = {"pool": "main", "url": engine.url, "max_in_flight": seats, **backend}
            await self.write(services.create_backend, name=f"sim-{n}", **settings)
        secrets = {}
        for slug, options in tenants.items():
            await self.write(services.create_tenant, slug=slug, name=slug, **options)
            issued = await self.write(gateway_services.issue_token, tenant=slug, name="test")
            secrets[slug] = issued.secret
        await self.settle()
        return secrets

    async def settle(self) -> None:
        """Wait until the gateway obeys the newest rules."""
        newest = await read(selectors.revision)
        await until(lambda: self.gateway.policy is not None and self.gateway.policy.revision >= newest)


@asynccontextmanager
async def running_plane() -> AsyncIterator[Plane]:
    """The data plane on a free port; it is drained and closed at the end."""
    doors = GatewayDoors(NoDoor())
    lifespan = Lifespan(doors.plane)

    by_type = {"lifespan": lifespan, "http": doors, "websocket": SocketDoors(doors.sockets)}

    async def application(scope, receive, send):
        await by_type[scope["type"]](scope, receive, send)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        http = partial(GatewayProtocol, doors.serve)
        config = uvicorn.Config(
            application,
            http=http,
            log_level="warning",
            lifespan="on",
            ws="websockets-sansio",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await until(lambda: server.started or serving.done())
            yield Plane(f"http://127.0.0.1:{port}", doors)
        finally:
            server.should_exit = True
            await serving
            await asyncio.sleep(APART_S)


async def read(query: Callable[..., Any], *args) -> Any:
    """The result of a query run in a thread that keeps no connection."""
    return await sync_to_async(_closing)(query, *args)


def _closing(work: Callable[..., Any], *args, **kwargs) -> Any:
    try:
        return work(*args, **kwargs)
    finally:
        connection.close()
