"""The HTTP side of the data plane: an ASGI application for ``/v1/*``.

A plain class, not Channels' ``AsyncHttpConsumer``, which does not hear a
client leave while it answers, and not a Django view, which costs twenty
times as much.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from gateway import catalog
from gateway.body import ClientLeft, read_body
from gateway.client import FLUSH_S, Client, Receive, Send
from gateway.errors import Draining, GetOnly, Internal, NotFound, PostOnly, Refused
from gateway.headers import JSON, RequestId
from gateway.jobs import ENDPOINTS
from gateway.serve import Gateway, Request

log = logging.getLogger("fairlane.gateway")

MODELS = "/v1/models"
MODEL = "/v1/models/"
QUEUE = "/v1/queue"
READ = ("GET", "HEAD")


class GatewayConsumer:
    """Turns ASGI messages into one call of ``Gateway.serve``, and refusals into responses."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one HTTP request to its end."""
        gateway = self._gateway
        gateway.start()
        headers = dict(scope["headers"])
        client = Client(receive, send, RequestId(headers))
        gateway.pulse.watch(client)
        try:
            await self._answer(scope, headers, client)
        except ClientLeft:
            pass
        except asyncio.CancelledError:
            if not client.gone and not client.evicted:
                raise
            if task := asyncio.current_task():
                task.uncancel()
            if client.gone:
                await client.hung_up(FLUSH_S)
            else:
                await client.refuse(Draining())
        finally:
            gateway.pulse.leave(client)
            client.close()

    async def _answer(self, scope: Mapping[str, Any], headers: dict[bytes, bytes], client: Client) -> None:
        try:
            await self._route(scope, headers, client)
        except Refused as refused:
            self._gateway.books.metrics.rejected[refused.code] += 1
            await client.refuse(refused)
        except (asyncio.CancelledError, ClientLeft):
            raise
        except Exception:
            log.exception("request %s failed", client.request_id.own)
            await client.refuse(Internal())

    async def _route(self, scope: Mapping[str, Any], headers: dict[bytes, bytes], client: Client) -> None:
        path, method = scope["path"], scope["method"]
        endpoint = ENDPOINTS.get(path)
        if endpoint is None:
            await client.whole(200, [(b"content-type", JSON)], self._tell(path, method, headers))
            return
        if method != "POST":
            raise PostOnly
        gateway = self._gateway
        _, caller = gateway.check_in(headers)  # before the body: a stranger's is not read
        body = await read_body(headers, client, gateway.settings)
        gateway.pulse.listen(client)
        await gateway.serve(Request(caller, endpoint, headers, body), client)

    def _tell(self, path: str, method: str, headers: dict[bytes, bytes]) -> bytes:
        if path not in (MODELS, QUEUE) and not path.startswith(MODEL):
            raise NotFound
        if method not in READ:
            raise GetOnly
        gateway = self._gateway
        policy, caller = gateway.check_in(headers)
        if path == MODELS:
            return catalog.models(policy)
        if path == QUEUE:
            return catalog.queue(gateway.dispatcher.view(), caller.tenant)
        return catalog.model(policy, unquote(path.removeprefix(MODEL)))
