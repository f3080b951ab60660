"""The live feed over a real WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from types import SimpleNamespace

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.test import Client
from uvicorn.protocols.utils import ClientDisconnected
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from dashboard import live
from dashboard.hub import FRAME_EVERY_S, hub
from dashboard.live import SIGNED_OUT
from gateway.snapshots import LIVE_GROUP, WATCHED
from scheduling import services
from tests import scenes
from tests.console_server import running_console

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

QUEUE = "on=queue&name=main"


@pytest.fixture
def server(transactional_db, valkey):
    scenes.make_rules()
    scenes.publish(valkey)
    with running_console() as console:
        yield console.url


def cookie_of(name: str, *, staff: bool = True) -> str:
    client = Client()
    client.force_login(User.objects.create_user(name, is_staff=staff))
    return f"sessionid={client.cookies['sessionid'].value}"


async def signed_in(name: str = "ada", *, staff: bool = True) -> str:
    return await sync_to_async(cookie_of)(name, staff=staff)


def socket(url: str, cookie: str, query: str = QUEUE, origin: str = "") -> connect:
    return connect(
        f"{url.replace('http', 'ws', 1)}/live?{query}",
        origin=origin or url,
        additional_headers={"Cookie": cookie},
    )


async def have(feed: ClientConnection, rows: dict[str, str] | None = None) -> None:
    await feed.send(json.dumps({"have": rows or {}}))


async def next_frame(feed: ClientConnection) -> tuple[list[str], dict]:
    """The rows that came as HTML, and the numbers after them."""
    rows: list[str] = []
    async with asyncio.timeout(5):
        while True:
            message = await feed.recv()
            if message.startswith("{"):
                return rows, json.loads(message)
            rows.append(message)


def signs(rows: list[str]) -> dict[str, str]:
    found = {}
    for row in rows:
        name = row.split('<tr id="' if '<tr id="' in row else ' id="')[1].split('"')[0]
        found[name] = row.split('data-sign="')[1].split('"')[0]
    return found


async def test_the_first_frame_is_a_snapshot_and_the_next_only_what_differs(server):
    async with socket(server, await signed_in()) as feed:
        await have(feed)
        rows, first = await next_frame(feed)
        later_rows, later = await next_frame(feed)

    assert [name for row in rows for name in signs([row])] == ["q-greedy", "q-quiet-a", "q-quiet-b"]
    assert first["text"]["q-greedy-queued"] == "120"
    assert first["attrs"]["q-greedy-mark_1m"]["width"] != "0.0"
    assert 0 <= first["now"] - first["at"] < 5
    assert later_rows == []
    assert (later["text"], later["attrs"], later["gone"]) == ({}, {}, [])


async def test_a_browser_that_has_the_rows_gets_numbers_alone(server):
    async with socket(server, await signed_in()) as feed:
        await have(feed)
        rows, _ = await next_frame(feed)
        await have(feed, {**signs(rows), "q-left-long-ago": "0"})
        rows, frame = await next_frame(feed)

    assert rows == []
    assert frame["text"]["q-greedy-queued"] == "120"
    assert frame["gone"] == ["q-left-long-ago"]


async def test_an_edited_row_is_sent_at_once_when_a_gateway_says_so(server):
    async with socket(server, await signed_in()) as feed:
        await have(feed)
        await next_frame(feed)
        await sync_to_async(services.set_weight)("greedy", 9, by="cli")
        began_s = time.monotonic()
        await get_channel_layer().group_send(LIVE_GROUP, {"type": "live.wake"})
        rows, _ = await next_frame(feed)
        took_s = time.monotonic() - began_s

    assert len(rows) == 1
    assert rows[0].startswith('<tr hx-swap-oob="true" id="q-greedy"')
    assert 'value="9"' in rows[0]
    assert took_s < FRAME_EVERY_S / 2


async def test_a_tenant_that_appears_is_put_in_its_place_and_one_that_leaves_is_taken_out(server):
    async with socket(server, await signed_in()) as feed:
        await have(feed)
        await next_frame(feed)
        await sync_to_async(services.create_tenant)("modest", by="cli")
        rows, _ = await next_frame(feed)
        while not rows:
            rows, _ = await next_frame(feed)
        await sync_to_async(services.delete_tenant)("modest", by="cli")
        _, frame = await next_frame(feed)
        while not frame["gone"]:
            _, frame = await next_frame(feed)

    assert rows[0].startswith('<tbody hx-swap-oob="afterend:#q-greedy">')
    assert frame["gone"] == ["q-modest"]


async def test_a_hidden_tab_is_sent_nothing_and_costs_nothing(server, valkey):
    async with socket(server, await signed_in()) as feed:
        await have(feed)
        await next_frame(feed)
        await feed.send(json.dumps({"pause": True}))
        await asyncio.sleep(0.3)  # what was on its way
        valkey.delete(WATCHED)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(feed.recv(), 2 * FRAME_EVERY_S)
        built_while_hidden = valkey.exists(WATCHED)
        await have(feed)
        rows, _ = await next_frame(feed)

    assert not built_while_hidden
    assert len(rows) == 3


async def test_two_sockets_share_one_reading_and_the_last_to_leave_ends_it(server):
    cookie = await signed_in()
    async with socket(server, cookie) as one, socket(server, cookie) as two:
        await have(one)
        await have(two)
        _, theirs = await next_frame(two)
        _, ours = await next_frame(one)
        while ours["now"] < theirs["now"]:  # those sent before the second one came
            _, ours = await next_frame(one)

    assert ours["now"] == theirs["now"]
    for _ in range(100):
        if hub._task is None:
            break
        await asyncio.sleep(0.02)
    assert hub._task is None


async def test_a_viewers_rows_cannot_be_edited(server):
    async with socket(server, await signed_in("vera", staff=False)) as feed:
        await have(feed)
        rows, _ = await next_frame(feed)

    assert all("disabled" in row for row in rows)


async def test_no_other_site_opens_the_feed(server):
    cookie = await signed_in()
    for origin in ("https://evil.example", server.replace("127.0.0.1", "localhost"), f"{server}0"):
        with pytest.raises(InvalidStatus, match="403"):
            await socket(server, cookie, origin=origin).__aenter__()


async def closed_with(feed: ClientConnection) -> int:
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await feed.recv()
    return feed.close_code


async def test_without_a_session_the_feed_says_signed_out(server):
    async with socket(server, "sessionid=made-up") as feed:
        assert await closed_with(feed) == SIGNED_OUT


async def test_signing_out_ends_an_open_feed(server, monkeypatch):
    monkeypatch.setattr(live, "CHECK_EVERY_S", 0.1)
    async with socket(server, await signed_in()) as feed:
        await have(feed)
        await next_frame(feed)
        await User.objects.filter(username="ada").aupdate(is_active=False)
        assert await closed_with(feed) == SIGNED_OUT


@pytest.mark.parametrize("message", ["", "{", "[]", '{"have": [1]}', '{"have": {"a": 1}}', "x" * 300_000])
async def test_a_message_that_makes_no_sense_closes_only_its_socket(server, message):
    async with socket(server, await signed_in()) as feed:
        await feed.send(message)
        assert await closed_with(feed) == live.BAD_REQUEST


@pytest.mark.parametrize("query", ["on=nothing", "on=tenants&page=0", "on=tenants&page=x"])
async def test_an_unknown_topic_is_refused(server, query):
    async with socket(server, await signed_in(), query) as feed:
        assert await closed_with(feed) == live.BAD_REQUEST


async def test_every_number_of_a_frame_has_its_place_on_the_page(server):
    """If two places must agree, a test compares them: the first view and the feed."""
    cookie = await signed_in()
    for query, address in (
        (QUEUE, "/queues/main/"),
        ("on=overview", "/"),
        ("on=tenants", "/tenants/"),
        ("on=tenant&name=greedy", "/tenants/greedy/"),
        ("on=backends", "/backends/"),
    ):
        page = await sync_to_async(page_text)(address, cookie)
        async with socket(server, cookie, query) as feed:
            await have(feed)
            rows, frame = await next_frame(feed)

        missing = [name for name in {**frame["text"], **frame["attrs"]} if f'id="{name}"' not in page]
        assert missing == [], address
        assert all(f'data-sign="{sign}"' in page for sign in signs(rows).values()), address


def page_text(address: str, cookie: str) -> str:
    client = Client()
    client.cookies["sessionid"] = cookie.partition("=")[2]
    return client.get(address).content.decode()


async def test_a_browser_that_leaves_while_it_is_sent_a_frame_is_no_error(monkeypatch, caplog):
    async def take():
        return None

    async def send(**_message):
        raise ClientDisconnected

    feed = live.LiveConsumer()
    monkeypatch.setattr(feed, "_mirror", SimpleNamespace(messages=lambda _frame: ["{}"]), raising=False)
    monkeypatch.setattr(feed, "send", send)
    await feed._serve(SimpleNamespace(take=take))

    assert caplog.records == []
