"""One picture a second per process, shared by all live sockets; none while nobody looks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from django.db import Error as DatabaseError

from dashboard.frames import Frame
from dashboard.sources import Scene, Source
from dashboard.topics import Topic, board_of

log = logging.getLogger(__name__)

FRAME_EVERY_S = 1.0  # a person reads once a second; a faster feed only costs
CLOSEST_S = 0.1  # between two frames, however often somebody wakes us


class Slot:
    """One socket's place for its next frame. The latest wins: a slow browser never queues."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.watching = False
        self._frame: Frame | None = None
        self._filled = asyncio.Event()

    def put(self, frame: Frame) -> None:
        """Replace what was not taken yet."""
        self._frame = frame
        self._filled.set()

    async def take(self) -> Frame:
        """The latest frame, waited for."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            if self._frame and self.watching:
                return self._frame


class Hub:
    """Reads the picture and hands each topic's frame to everybody who watches it."""

    def __init__(self) -> None:
        self._slots: set[Slot] = set()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def join(self, topic: Topic) -> Slot:
        """A place for a socket. It gets frames once it is ``watching``."""
        slot = Slot(topic)
        self._slots.add(slot)
        if self._task is None:
            self._woken = asyncio.Event()  # of this loop
            self._task = asyncio.create_task(self._run(), name="live hub")
        return slot

    def leave(self, slot: Slot) -> None:
        """Give the place up. After the last one left the reading ends by itself."""
        self._slots.discard(slot)
        self._woken.set()

    def wake(self) -> None:
        """Send a frame now: a policy was swapped, or a browser looks again."""
        self._woken.set()

    async def _run(self) -> None:
        source = Source()
        try:
            while self._slots:
                await self._frame_once(source)
                await asyncio.sleep(CLOSEST_S)
                await self._until_next()
        finally:
            self._task = None  # before any await: who joins from now on begins anew
            await source.close()

    async def _frame_once(self, source: Source) -> None:
        self._woken.clear()
        watching = [slot for slot in self._slots if slot.watching]
        if not watching:
            return
        try:
            scene = await source.read()
        except (DatabaseError, OSError) as error:  # the page says how old its data are
            log.warning("No live frame: %s", error)
            return
        _hand_out(scene, watching)

    async def _until_next(self) -> None:
        idle = not any(slot.watching for slot in self._slots)
        try:
            async with asyncio.timeout(None if idle else FRAME_EVERY_S - CLOSEST_S):
                await self._woken.wait()
        except TimeoutError:
            return


def _hand_out(scene: Scene, slots: Iterable[Slot]) -> None:
    frames: dict[Topic, Frame] = {}
    for slot in slots:
        if slot.topic not in frames:
            frames[slot.topic] = Frame(
                board_of(slot.topic, scene), at_s=scene.picture.at_s, now_s=scene.moment.now_s
            )
        slot.put(frames[slot.topic])


hub = Hub()
