"""How requests of a WebSocket end when somebody else ends them, or nobody does."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway import ws_client
from gateway.ws import Talk
from tests.fakes.faulty import chunk, says
from tests.fakes.faulty_gateway import SECRET
from tests.fakes.gateway import MODEL
from tests.fakes.socket_client import ask, frame, kinds, talk, until_done
from tests.fakes.socket_gateway import BEGUN, GOOD, gateway
from tests.fakes.waiting import until


async def test_a_request_that_its_owner_cancels_is_an_error_frame_and_the_socket_goes_on() -> None:
    async with gateway(says(BEGUN, then="stall")) as (served, _), talk(served.url, SECRET) as socket:
        await ask(socket)
        assert (await frame(socket))["type"] == "chunk"
        (record,) = served.gateway.books.going.of("research")
        assert served.gateway.pulse.cancel(record)
        frames = await until_done(socket)
        assert kinds(frames)[-3:] == ["error", "usage", "done"]
        await ask(socket)
        assert (await frame(socket))["type"] == "chunk"


@pytest.mark.parametrize(
    ("held", "model", "rest"), [("usage", MODEL, ["usage", "done"]), ("error", "gpt-7", ["error", "done"])]
)
async def test_a_cancel_that_comes_while_the_last_frames_are_sent_takes_none_of_them_away(
    held, model, rest
) -> None:
    sent, waits = [], asyncio.Event()

    async def send(message):
        sent.append(json.loads(message["text"])["type"])
        if sent[-1] == held:
            await waits.wait()

    async with gateway(says(GOOD)) as (served, _):
        headers = {b"authorization": f"Bearer {SECRET}".encode()}
        talking = Talk(served.gateway, headers, send)
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
        await talking.hear(json.dumps({"type": "request", "body": body}))
        await until(lambda: sent[-1:] == [held])
        await talking.hear('{"type":"cancel"}')
        waits.set()
        await until(lambda: sent[-2:] == rest)


async def test_an_event_without_an_end_is_an_error_and_is_not_kept(monkeypatch) -> None:
    monkeypatch.setattr(ws_client, "HELD_BYTES", 100_000)
    endless = [chunk(b"x" * 10_000) for _ in range(20)]
    async with (
        gateway(says(BEGUN, *endless, then="stall")) as (served, _),
        talk(served.url, SECRET) as socket,
    ):
        await ask(socket)
        frames = await until_done(socket)
        (record,) = await served.settled(1)
    assert kinds(frames) == ["chunk", "error", "usage", "done"]
    assert record.outcome == "upstream_garbage"
