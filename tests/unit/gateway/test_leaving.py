from __future__ import annotations

import asyncio
import socket

from gateway.asgi_client import AsgiClient
from gateway.pulse import HEAR_AFTER_S, Pulse
from gateway.settings import Settings


class Cycle:
    """As uvicorn: ``send`` is bound to what holds the transport. uvloop says ValueError for a closed one."""

    def __init__(self, *, closed: bool) -> None:
        self.transport = self
        self.closed = closed
        self.family = socket.AF_INET
        self.left = asyncio.Event()

    def get_extra_info(self, name):
        return self

    def setsockopt(self, *_):
        if self.closed:
            raise ValueError("negative file descriptor")

    async def send(self, message): ...

    async def receive(self):
        await self.left.wait()
        return {"type": "http.disconnect"}


async def test_a_client_that_has_left_already_keeps_nobody_else_from_being_heard():
    pulse = Pulse(Settings())
    gone, here = Cycle(closed=True), Cycle(closed=False)
    clients = [AsgiClient(each.receive, each.send, {}) for each in (gone, here)]
    for client in clients:
        client.work = None
        pulse.listen(client)
    await asyncio.sleep(HEAR_AFTER_S * 3)

    assert all(client._ears is not None for client in clients)
    for client in clients:
        client.close()
