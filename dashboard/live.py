"""The live feed: one WebSocket per tab, state instead of events.

A browser that missed ten frames is right again at the next one. It begins by
saying which rows it has, so a reconnect is a full snapshot that changes only
what differs.
"""

from __future__ import annotations

import asyncio
import json
import logging
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import URLRouter
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.http.request import validate_host
from django.urls import path

from dashboard.frames import Mirror
from dashboard.hub import Slot, hub
from dashboard.topics import Topic
from gateway.snapshots import LIVE_GROUP

log = logging.getLogger(__name__)

SIGNED_OUT, BAD_REQUEST, TRY_LATER = 4401, 4400, 1013  # WebSocket close codes
CHECK_EVERY_S = 30.0  # a sign-out elsewhere ends the feed within this time
SLOW_S = 30.0  # a browser that takes nothing for so long is let go
MESSAGE_BYTES = 256 * 1024  # the signatures of some thousand rows


class LiveConsumer(AsyncWebsocketConsumer):
    """Sends the same rows and numbers the page was built from, once a second."""

    groups = [LIVE_GROUP]
    _slot: Slot | None = None
    _work: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Accept a signed-in user from our own pages."""
        if not same_origin(self.scope):
            await self.close()
            return
        await self.accept()
        user: Any = self.scope["user"]
        if not user.is_authenticated:
            await self.close(SIGNED_OUT)
            return
        try:
            topic = Topic.parse(self.scope["query_string"].decode())
        except ValueError:
            await self.close(BAD_REQUEST)
            return
        self._mirror = Mirror(can_edit=user.is_staff)
        self._slot = hub.join(topic)
        self._work = asyncio.create_task(self._serve(self._slot), name="live socket")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """``{"have": {row: signature}}`` begins or begins anew, ``{"pause": true}`` stops."""
        if self._slot is None:
            return
        try:
            have = _have(text_data or "")
        except ValueError:
            await self.close(BAD_REQUEST)
            return
        self._slot.watching = have is not None
        if have is not None:
            self._mirror.reset(have)
            hub.wake()

    async def live_wake(self, message: dict[str, Any]) -> None:
        """A gateway swapped its policy: the next frame goes out now."""
        hub.wake()

    async def disconnect(self, code: int) -> None:
        """Leave the hub."""
        if self._work:
            self._work.cancel()
        if self._slot:
            hub.leave(self._slot)

    async def _serve(self, slot: Slot) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send_frames(slot))
                group.create_task(self._watch_session())
        except* _SignedOut:
            await self.close(SIGNED_OUT)
        except* TimeoutError:
            await self.close(TRY_LATER)
        except* OSError:
            pass  # the browser left between two frames: what ASGI servers raise then
        except* Exception:
            log.exception("A live socket failed")
            await self.close(TRY_LATER)

    async def _send_frames(self, slot: Slot) -> None:
        while True:
            frame = await slot.take()
            for message in self._mirror.messages(frame):
                async with asyncio.timeout(SLOW_S):
                    await self.send(text_data=message)

    async def _watch_session(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            user: Any = self.scope["user"]
            if not await still_signed_in(self.scope["session"].session_key, user.is_staff):
                raise _SignedOut


class _SignedOut(Exception):
    """The session ended, or the user may do less than when the socket opened."""


def same_origin(scope: Any) -> bool:
    """Whether a page of ours opened the socket: cookies alone would let any site read along."""
    headers = dict(scope["headers"])
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    host = headers.get(b"host", b"").decode("latin-1")
    parts = urlsplit(origin)
    return parts.netloc == host and validate_host(parts.hostname or "", settings.ALLOWED_HOSTS)


@database_sync_to_async
def still_signed_in(session_key: str | None, was_staff: bool) -> bool:  # noqa: FBT001  # called by one place
    """Whether the session lives on and its user may still do what it could."""
    user = get_user(SimpleNamespace(session=SessionStore(session_key)))  # type: ignore[arg-type]  # only .session is read
    return bool(user.is_authenticated and user.is_staff == was_staff)


def _have(text: str) -> dict[str, str] | None:
    """The rows a browser says it has; None when it pauses. Raises ValueError for anything else."""
    if len(text) > MESSAGE_BYTES:
        raise ValueError("too long")
    message = json.loads(text)
    if not isinstance(message, dict):
        raise ValueError("no object")  # noqa: TRY004  # one kind of error for bad input
    if message.get("pause"):
        return None
    have = message.get("have")
    if not isinstance(have, dict) or not all(isinstance(sign, str) for sign in have.values()):
        raise ValueError("no rows")
    return have


_consumer: Any = LiveConsumer.as_asgi()  # Django's stubs know no ASGI application as a route
websocket = AuthMiddlewareStack(URLRouter([path("live", _consumer)]))
