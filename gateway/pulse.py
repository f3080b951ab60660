"""One timer for all requests: it keeps silent streams alive and cuts off clients that do not read."""

from __future__ import annotations

import asyncio
import logging

from gateway.client import Client
from gateway.errors import Draining
from gateway.own.errors import CancelledByOwner
from gateway.records import Record
from gateway.settings import Settings

log = logging.getLogger("fairlane.gateway")

SLOWEST_BEAT_S = 0.25
SLOWEST_STREAM_BEAT_S = 1.0
FASTEST_BEAT_S = 0.01
BEATS = 5  # per shortest time that is watched
HEAR_AFTER_S = 0.02  # a request that is done sooner never pays for a task that hears its client leave


class Pulse:
    """Looks at every client, most often before its answer begins; a request costs it nothing in between."""

    def __init__(self, settings: Settings) -> None:
        self._hold_s = settings.hold_status_s
        self._comment_every_s = settings.comment_every_s
        self._slow_s = settings.slow_client_s
        shortest = min(
            self._comment_every_s, self._slow_s, self._hold_s or SLOWEST_BEAT_S, settings.body_read_s
        )
        self._beat_s = min(SLOWEST_BEAT_S, max(FASTEST_BEAT_S, shortest / BEATS))
        # To look at thousands of streams takes milliseconds, and they need it less often.
        self._stream_beat_s = min(SLOWEST_STREAM_BEAT_S, min(self._comment_every_s, self._slow_s) / BEATS)
        self.clients: set[Client] = set()  # whose requests have begun, and are not over
        self._deaf: list[Client] = []  # clients that are not listened to yet

    def listen(self, client: Client) -> None:
        """Hear the client leave, from a moment on if that takes a task."""
        if not client.needs_ears:
            client.listen()
            return
        if not self._deaf:
            asyncio.get_running_loop().call_later(HEAR_AFTER_S, self._hear)
        self._deaf.append(client)

    async def quiet(self, within_s: float) -> bool:
        """Wait until no request is left; False when there still is one after that time."""
        try:
            async with asyncio.timeout(within_s):
                while self.clients:  # noqa: ASYNC110 - an event would cost each request a look at it
                    await asyncio.sleep(FASTEST_BEAT_S)
        except TimeoutError:
            return False
        return True

    def evict(self) -> int:
        """Cut off every request that is left, with an error that says why; how many there were."""
        for client in tuple(self.clients):
            client.evict(Draining())
        return len(self.clients)

    def cancel(self, record: Record) -> bool:
        """Take that request out of line, or off its engine, for its owner. False when it ends already."""
        client = next((each for each in self.clients if each.record is record), None)
        return client is not None and not client.ended and client.evict(CancelledByOwner())

    async def beat(self) -> None:
        """Go on for ever."""
        loop = asyncio.get_running_loop()
        streams_at_s = 0.0
        while True:
            await asyncio.sleep(self._beat_s)
            now_s = loop.time()
            if looks_at_streams := now_s >= streams_at_s:
                streams_at_s = now_s + self._stream_beat_s
            self._look(now_s, at_streams=looks_at_streams)

    def _hear(self) -> None:
        deaf, self._deaf = self._deaf, []
        for client in deaf:
            try:
                client.listen()
            except Exception:  # one client's fault must not leave the others unheard
                log.exception("request %s is not heard leaving", client.request_id.own)

    def _look(self, now_s: float, *, at_streams: bool) -> None:
        # A call of its own: a name that lives on in ``beat`` would keep the last client until the next comes.
        for client in tuple(self.clients):
            try:
                if at_streams or not client.began:
                    self._look_at(client, now_s)
            except Exception:  # one request's fault must not stop the timer of all
                log.exception("request %s could not be looked at", client.request_id.own)

    def _look_at(self, client: Client, now_s: float) -> None:
        if (since_s := client.writing_since_s) is not None:
            if now_s - since_s > self._slow_s:
                client.cut()
            return
        if client.reading_until_s is not None:
            if now_s > client.reading_until_s:
                client.stop_reading()
            return
        if client.tell is None:
            return
        hold_s = self._hold_s if client.hold_s is None else client.hold_s
        patience_s = self._comment_every_s if client.began else hold_s
        if client.idle_s(now_s) >= patience_s and (text := client.tell()):
            client.remark(text)
