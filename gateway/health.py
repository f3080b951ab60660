"""Whether the process lives, whether it may be sent requests, and its figures: plain ASGI applications."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from django.db import DatabaseError, connection

from gateway.asgi_client import Receive, Send
from gateway.metrics import page
from gateway.selectors import admin_caller
from gateway.serve import Gateway

LOOPBACK = ("127.", "::1", "::ffff:127.")
FORWARDED = (b"x-forwarded-for", b"forwarded", b"x-real-ip")  # loopback is then only the proxy
SCOPE = "metrics"
TEXT = b"text/plain; charset=utf-8"
PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"
BEARER = "bearer "


class Health:
    """``/healthz``, ``/readyz`` and ``/metrics``. ``may_read`` says whether a secret opens ``/metrics``."""

    def __init__(self, gateway: Gateway, may_read: Callable[[str], bool] | None = None) -> None:
        self._gateway = gateway
        self._may_read = may_read or _is_reader

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one of the three paths."""
        path = scope["path"]
        if path == "/healthz":
            await say(send, 200, b"ok\n")
        elif path == "/readyz":
            await self._readiness(send)
        elif path == "/metrics":
            await self._figures(scope, send)
        else:
            await say(send, 404, b"There is no such page.\n")

    async def _readiness(self, send: Send) -> None:
        if self._gateway.ready:
            await say(send, 200, b"ready\n")
        elif self._gateway.draining:
            await say(send, 503, b"draining\n")
        else:
            await say(send, 503, b"no policy is loaded yet\n")

    async def _figures(self, scope: Mapping[str, Any], send: Send) -> None:
        if not await self._may_see(scope):
            await say(send, 403, b"/metrics answers loopback, or an admin's API token with scope metrics.\n")
            return
        gateway = self._gateway
        books = gateway.books
        text = page(books.metrics, gateway.dispatcher.view(), books.unsettled, gateway.own.retries.verdicts)
        await say(send, 200, text, PROMETHEUS)

    async def _may_see(self, scope: Mapping[str, Any]) -> bool:
        headers = dict(scope["headers"])
        host = (scope.get("client") or ("", 0))[0]
        if host.startswith(LOOPBACK) and not any(name in headers for name in FORWARDED):
            return True
        header = headers.get(b"authorization", b"").decode("ascii", "replace")
        if header[: len(BEARER)].lower() != BEARER:
            return False
        return await asyncio.to_thread(self._may_read, header[len(BEARER) :].strip())


def _is_reader(secret: str) -> bool:
    try:
        caller = admin_caller(secret)
    except DatabaseError:  # a database that is away opens nothing
        return False
    finally:
        connection.close()
    return caller is not None and SCOPE in caller.scopes


async def say(send: Send, status: int, body: bytes, kind: bytes = TEXT) -> None:
    """A short answer, plain text unless said otherwise."""
    headers = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
