"""Chat completions over a WebSocket: JSON frames, one request at a time, through the same spine as HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from gateway.client import FLUSH_S, Message
from gateway.endpoints import ENDPOINTS
from gateway.errors import Draining, Internal, Invalid, InvalidJson, Refused, Unauthenticated
from gateway.headers import RequestId, refusal_headers
from gateway.heads import check_heads
from gateway.input_errors import SocketBusy
from gateway.own.idempotency import KEY, Keyed
from gateway.serve import Gateway
from gateway.ws_client import SocketClient, error_frame

log = logging.getLogger("fairlane.gateway")

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PATH = "/v1/chat/completions"
PROTOCOL = "fairlane.v1"
BEARER = "fairlane.bearer."  # and the API token: a browser can send no Authorization header
AGAIN, NOT_ALLOWED, FAILED = 1012, 1008, 1011  # close codes of RFC 6455 and its registry
MAX_ID_CHARS = 128


class Frame(msgspec.Struct):
    """What a client may send."""

    type: str
    id: str = ""
    idempotency_key: str | None = None
    body: msgspec.Raw = msgspec.Raw(b"")


_frame = msgspec.json.Decoder(Frame).decode


class SocketConsumer:
    """An ASGI application for ``ws /v1/chat/completions``."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one WebSocket to its end."""
        await receive()
        headers = dict(scope["headers"])
        offered = scope.get("subprotocols", [])
        for name in offered:
            if name.startswith(BEARER) and b"authorization" not in headers:
                headers[b"authorization"] = b"Bearer " + name.removeprefix(BEARER).encode()
        try:
            check_heads(scope, dict(scope["headers"]))
            self._gateway.check_in(headers)
        except Refused as refused:
            await _deny(refused, RequestId.of(headers), send)
            await _hung_up(receive)
            return
        chosen = PROTOCOL if PROTOCOL in offered else None  # never the one that holds the API token
        await send({"type": "websocket.accept", "subprotocol": chosen, "headers": []})
        talk = Talk(self._gateway, headers, send)
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                await talk.hear(message.get("text"))
        finally:
            await talk.end()


class Talk:
    """One WebSocket: what comes is heard at once, also while a request of it is served."""

    def __init__(self, gateway: Gateway, headers: Mapping[bytes, bytes], send: Send) -> None:
        self._gateway = gateway
        self._headers = headers
        self._send = send
        self._client: SocketClient | None = None

    async def hear(self, text: str | None) -> None:
        """Take a frame of the client's."""
        try:
            frame = _read(text)
            if frame.type == "cancel":
                if (
                    self._client is not None and not self._client.ended
                ):  # else its last frames are on their way
                    self._client.leave()
            elif self._client is not None:
                raise SocketBusy
            else:
                await self._start(frame)
        except Refused as refused:
            await self._say(error_frame(refused, RequestId.of({})))

    async def end(self) -> None:
        """The connection is closed: what runs is cancelled."""
        if (client := self._client) is not None and client.work is not None:
            client.leave()
            await asyncio.wait([client.work])

    async def _start(self, frame: Frame) -> None:
        headers = {**self._headers, b"x-request-id": frame.id.encode()} if frame.id else self._headers
        client = self._client = SocketClient(self._send, headers)
        client.work = asyncio.create_task(self._run(frame, client))
        await asyncio.sleep(0)  # it must have begun before a cancel can end it in order

    async def _run(self, frame: Frame, client: SocketClient) -> None:
        """Serve one request, and say how it ended unless nobody listens any more."""
        try:
            code = await self._serve(frame, client)
            await client.conclude()
            if code:
                await self._send({"type": "websocket.close", "code": code})
        except (OSError, asyncio.CancelledError):
            if not client.gone:
                raise
        finally:
            self._client = None

    async def _serve(self, frame: Frame, client: SocketClient) -> int:
        """Have it answered; the code to close the connection with, or 0 to go on."""
        gateway = self._gateway
        gateway.pulse.clients.add(client)
        try:
            _, caller = gateway.check_in(client.headers)  # again: the API token may be revoked by now
            body = _as_stream(bytes(frame.body))
            run = partial(gateway.serve, client, caller, ENDPOINTS[PATH], body)
            with gateway.bodies.hold(len(body)):
                if frame.idempotency_key is None:
                    await run()
                else:
                    key = frame.idempotency_key.encode()
                    keyed = Keyed(caller.tenant, caller.token_id, key, PATH, body)
                    await gateway.own.idempotency.once(keyed, client, run)
        except Refused as refused:
            refused.__traceback__ = None  # by its frames it holds the work, and is held by that
            gateway.books.metrics.rejected[refused.code] += 1
            await client.refuse(refused)
            return _close_code(refused, client)
        except asyncio.CancelledError:
            return await self._cancelled(client)
        except Exception:
            log.exception("request %s failed", client.request_id.own)
            await client.refuse(Internal())
            return FAILED
        finally:
            gateway.pulse.clients.discard(client)
            client.close()
        return 0

    async def _cancelled(self, client: SocketClient) -> int:
        if client.work is None or not (client.gone or client.evicted):
            raise asyncio.CancelledError
        client.work.uncancel()
        if client.gone:
            return 0
        why = client.evicted or Draining()
        await client.refuse(why)
        return AGAIN if isinstance(why, Draining) else 0  # an owner's cancelling is the request's end alone

    async def _say(self, frame: bytes) -> None:
        """Send a frame between others; a client that does not take it is cut off."""
        try:
            async with asyncio.timeout(self._gateway.settings.slow_client_s):
                await self._send({"type": "websocket.send", "text": frame.decode()})
        except TimeoutError:
            transport = getattr(getattr(self._send, "__self__", None), "transport", None)
            if transport is not None:
                transport.abort()


def _read(text: str | None) -> Frame:
    if text is None:
        raise Invalid("Frames are text: one JSON object each.")
    try:
        frame = _frame(text.encode())
    except msgspec.ValidationError as error:
        raise Invalid(f"The frame is not one that is read here: {error}.") from None
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise InvalidJson("The frame is not valid JSON: send one JSON object.") from None
    if frame.type not in ("request", "cancel"):
        raise Invalid('type must be "request" or "cancel".', param="type")
    if frame.type == "request" and bytes(frame.body)[:1] != b"{":
        raise Invalid("body must be the JSON object that POST takes.", param="body")
    if len(frame.id) > MAX_ID_CHARS:
        raise Invalid(f"id may have at most {MAX_ID_CHARS} characters.", param="id")
    key = frame.idempotency_key
    if key is not None and not KEY.fullmatch(key.encode()):
        raise Invalid("idempotency_key must be 1 to 255 printable ASCII characters.", param="idempotency_key")
    return frame


def _as_stream(body: bytes) -> bytes:
    """The same object as a request for a stream: of a member that comes twice, the last counts."""
    members = body.rstrip()[1:-1].strip()
    return b"{%b%b%b}" % (members, b"," if members else b"", b'"stream":true')


def _close_code(refused: Refused, client: SocketClient) -> int:
    """A refused request leaves the connection as it was; an answer that breaks off ends it."""
    if isinstance(refused, Draining):
        return AGAIN
    if isinstance(refused, Unauthenticated):
        return NOT_ALLOWED
    return FAILED if client.answered else 0


async def _hung_up(receive: Receive) -> None:
    """Stay until a refused connection is closed: uvicorn takes an early return for a mistake."""
    with suppress(TimeoutError):
        async with asyncio.timeout(FLUSH_S):
            await receive()  # the refusal is written
            await receive()  # the connection is closed


async def _deny(refused: Refused, request_id: RequestId, send: Send) -> None:
    """Refuse the handshake with the error that an HTTP request would get."""
    body = refused.body()
    headers = [*refusal_headers(refused, request_id), *request_id.headers()]
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "websocket.http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
