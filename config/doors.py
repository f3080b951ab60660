"""Which part of the process answers a request, decided by its path alone."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import django.db
from django.db import connection

from config.data_plane import DataPlane
from gateway import openapi, ws
from gateway.consumers import GatewayConsumer
from gateway.health import Health, say
from scheduling import selectors

log = logging.getLogger(__name__)

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

GARBAGE_OBJECTS = 50_000  # made and not yet freed, about what 300 requests under way hold
LIVE = "/live"
NOT_FOUND = 4404  # WebSocket close code of our own: no such path
HEALTH = ("/healthz", "/readyz", "/metrics")


class GatewayDoors:
    """``/v1`` and the health pages go to the data plane, everything else to ``others``."""

    def __init__(self, others: Application) -> None:
        self.plane = DataPlane()
        self._v1 = GatewayConsumer(self.plane.gateway)
        self.serve = self._v1.serve
        self.sockets = {ws.PATH: ws.SocketConsumer(self.plane.gateway)}
        self._health = Health(self.plane.gateway)
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        path = scope["path"]
        if path == openapi.PATH:
            await openapi.serve_document(scope, receive, send)
        elif path.startswith("/v1/") or path == "/v1":
            await self._v1(scope, receive, send)
        elif path in HEALTH:
            await self._health(scope, receive, send)
        else:
            await self._others(scope, receive, send)


class ConsoleDoors:
    """The console's pages, and health pages of a process that has no gateway."""

    def __init__(self, pages: Any) -> None:
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        path = scope["path"]
        if path == "/healthz":
            await say(send, 200, b"ok\n")
        elif path == "/readyz":
            ready = await asyncio.to_thread(_database_answers)
            await say(send, *((200, b"ready\n") if ready else (503, b"the database does not answer\n")))
        else:
            await self._pages(scope, receive, send)


class SocketDoors:
    """WebSockets by their path; any other path is told that nobody is there."""

    def __init__(self, doors: Mapping[str, Any]) -> None:
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket."""
        if door := self._doors.get(scope["path"]):
            await door(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": NOT_FOUND})


class NoDoor:
    """This process does not have that part."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say so."""
        await say(send, 404, b"The console is served on another port (serve --split, --console-port).\n")


class Lifespan:
    """Starts the data plane before the first request, and drains it after the last."""

    def __init__(self, plane: DataPlane | None = None) -> None:
        self._plane = plane

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """ASGI's lifespan protocol."""
        await receive()
        if self._plane:
            await self._plane.start()
        gc.collect()
        gc.freeze()  # what was imported lives for ever: no need to look at it in every collection
        # No request leaves cycles behind; to look for them after every 700 objects took a tenth of it.
        gc.set_threshold(GARBAGE_OBJECTS)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._plane:
            await self._plane.stop()
        await send({"type": "lifespan.shutdown.complete"})


def _database_answers() -> bool:
    try:
        selectors.revision()
    except django.db.Error:
        return False
    finally:
        connection.close()
    return True
