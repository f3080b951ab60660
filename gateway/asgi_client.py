"""A client behind any ASGI server: bytes come and go as messages."""

from __future__ import annotations

import asyncio
from asyncio import Task
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway.client import Client, Message
from gateway.headers import Headers
from gateway.vanishing import notice_vanishing

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class AsgiClient(Client):
    """One client, heard by a task of its own: ASGI tells that it left only to who waits for it."""

    def __init__(self, receive: Receive, send: Send, headers: Mapping[bytes, bytes]) -> None:
        self._prepare(headers, asyncio.get_running_loop())
        self.work = asyncio.current_task()
        self._receive_message = receive
        self._send_message = send
        self._ears: Task[None] | None = None

    def listen(self) -> None:
        """From now on the request's task is cancelled at once when the client leaves."""
        if self._ears is None and not self.ended:
            self._ears = self._loop.create_task(self._listen())
            notice_vanishing(self._transport)

    def push(self, data: bytes) -> bool:
        """Never: every message has to be waited for."""
        return False

    def close(self) -> None:
        """The request is over: stop listening."""
        super().close()
        if self._ears is not None:
            self._ears.cancel()

    async def hung_up(self, timeout_s: float) -> bool:
        """Wait until the connection is closed; False when it is not in time."""
        if self._ears is None:
            return True
        done, _ = await asyncio.wait([self._ears], timeout=timeout_s)
        return bool(done)

    async def _receive(self) -> Message:
        return await self._receive_message()

    async def _listen(self) -> None:
        while (await self._receive_message())["type"] != "http.disconnect":
            pass
        if not self.ended:
            self._leave()

    async def _send_head(self, status: int, headers: Headers) -> None:
        await self._put({"type": "http.response.start", "status": status, "headers": headers})

    async def _send(self, data: bytes, *, more: bool) -> None:
        await self._put({"type": "http.response.body", "body": data, "more_body": more})

    async def _put(self, message: Message) -> None:
        self.writing_since_s = self._loop.time()
        await self._send_message(message)
        self.writing_since_s = None
        self.idle_since_s = self._loop.time()

    @property
    def _transport(self) -> Any:
        # ASGI has no way to abort. uvicorn's send is a method of the cycle that holds the transport.
        return getattr(getattr(self._send_message, "__self__", None), "transport", None)
