"""The HTTP side of the data plane: an ASGI application for ``/v1/*``.

A plain class, not Channels' ``AsyncHttpConsumer``, which does not hear a
client leave while it answers, and not a Django view, which costs twenty
times as much.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import Any

from gateway import asides
from gateway.asgi_client import AsgiClient, Receive, Send
from gateway.body import ClientLeft, read_body, too_large
from gateway.client import FLUSH_S, Client
from gateway.endpoints import dialect_of, relayed
from gateway.errors import Internal, Refused
from gateway.forms import without_boundary
from gateway.headers import IDEMPOTENCY
from gateway.heads import Head, check_heads
from gateway.own.idempotency import Keyed
from gateway.serve import Gateway
from gateway.visit import Visit

log = logging.getLogger("fairlane.gateway")


class GatewayConsumer:
    """Turns ASGI messages into one call of ``Gateway.serve``, and refusals into responses."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._endpoints = relayed(gateway.settings.passed_paths)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one HTTP request to its end, by whatever server."""
        await self.serve(scope, AsgiClient(receive, send, dict(scope["headers"])))

    async def serve(self, scope: Mapping[str, Any], client: Client) -> None:
        """Serve one HTTP request of this client, whose task this is."""
        gateway = self._gateway
        running = gateway.pulse.clients
        running.add(client)
        try:
            try:
                await self._serving(scope, client)
            except Refused as refused:
                refused.__traceback__ = None  # by its frames it holds the work, and is held by that
                gateway.books.metrics.rejected[refused.code] += 1
                await client.refuse(refused)
            except ClientLeft:
                pass
            except Exception:
                log.exception("request %s failed", client.request_id.own)
                await client.refuse(Internal())
        except asyncio.CancelledError:
            if not client.gone and not client.evicted:
                raise
            await _cut_off(client)
        finally:
            running.discard(client)
            client.close()

    def _serving(self, scope: Mapping[str, Any], client: Client) -> Awaitable[None]:
        """What is to be awaited for the answer. What can be done without waiting is done, or refused."""
        gateway, known = self._gateway, client.known
        head = known.head if known is not None else None
        if head is None:
            endpoint = self._endpoints.get(scope["path"])
            if endpoint is None:
                return self._aside(scope, client)
            client.dialect = endpoint.dialect
            head = Head.of(scope, client.headers, endpoint)
            if known is not None:
                known.means(head)
        else:
            client.dialect = head.endpoint.dialect
        policy, caller = gateway.check_in(client.headers)  # before the body: a stranger's is not read
        gateway.own.retries.check(caller.tenant, head.tries)
        body = client.body
        if body is None or not head.is_plain:
            return self._serve_slowly(client, head)
        client.body = None
        if len(body) > gateway.settings.body_bytes:
            raise too_large(gateway.settings.body_bytes)
        return gateway.serve(client, caller, head.endpoint, body, policy, head.said)

    async def _aside(self, scope: Mapping[str, Any], client: Client) -> None:
        client.ignore_leaving()
        await client.in_task()
        path, headers, gateway = scope["path"], client.headers, self._gateway
        client.dialect = dialect_of(path)
        check_heads(scope, headers)
        aside, rest = asides.find(path)
        policy, caller = gateway.check_in(headers, aside=True)
        query = scope["query_string"]
        await aside(Visit(gateway, client, policy, caller, scope["method"], rest, query, headers))

    async def _serve_slowly(self, client: Client, head: Head) -> None:
        """The rest for a request whose body is still to be read, or that is to run once only."""
        gateway, headers = self._gateway, client.headers
        body = await read_body(headers, client, gateway.settings)
        gateway.pulse.listen(client)
        caller = gateway.check_again(headers)
        endpoint, said = head.endpoint, head.said
        with gateway.bodies.hold(len(body)):
            if (key := headers.get(IDEMPOTENCY)) is None:
                serving = gateway.serve(client, caller, endpoint, body, said=said)
                del body
                await serving
                return
            asked = without_boundary(headers, body) if endpoint.form else body
            keyed = Keyed(caller.tenant, caller.token_id, key, endpoint.path, asked)
            run = partial(gateway.serve, client, caller, endpoint, body, said=said)
            await gateway.own.idempotency.once(keyed, client, run)


async def _cut_off(client: Client) -> None:
    """The client left, or is told why there is no more."""
    if client.work is not None:
        client.work.uncancel()
    if client.gone:
        await client.hung_up(FLUSH_S)
    elif client.evicted:
        await client.refuse(client.evicted)
