"""What the console reads of the gateways, through the real bus."""

from __future__ import annotations

import threading
import time

import msgspec
import pytest

from config.doors import LIVE, SocketDoors
from gateway.picture_merge import Snapshot
from gateway.snapshots import GATEWAYS, SNAPSHOT, SNAPSHOT_S, WATCHED, read_picture_sync


def publish(valkey, gateway: str, at_s: float, revision: int = 1) -> None:
    page = msgspec.json.encode(Snapshot(gateway=gateway, at_s=at_s, revision=revision, pools=[]))
    valkey.set(SNAPSHOT + gateway, page, ex=SNAPSHOT_S)
    valkey.zadd(GATEWAYS, {gateway: at_s})


def test_a_page_that_cannot_be_read_hides_no_other_gateway(valkey) -> None:
    now_s = time.time()
    publish(valkey, "old-release", now_s)
    valkey.set(SNAPSHOT + "old-release", b"{]")
    publish(valkey, "gateway-1", now_s + 60)

    assert read_picture_sync().gateways == 1


def test_a_first_look_waits_for_what_is_published_after_it(valkey) -> None:
    publish(valkey, "gateway-1", time.time() - 2, revision=1)

    def answer() -> None:
        while not valkey.exists(WATCHED):
            time.sleep(0.005)
        publish(valkey, "gateway-1", time.time(), revision=2)

    gateway = threading.Thread(target=answer)
    gateway.start()
    picture = read_picture_sync()
    gateway.join()

    assert picture.revision == 2


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/live/", "/nowhere"])
async def test_a_websocket_to_no_route_is_closed_without_an_error(path) -> None:
    sent = []

    async def send(message) -> None:
        sent.append(message)

    async def nothing(scope, receive, send) -> None:
        raise AssertionError("the live feed must not be asked")

    await SocketDoors({LIVE: nothing})({"type": "websocket", "path": path}, None, send)

    assert sent == [{"type": "websocket.close", "code": 4404}]
