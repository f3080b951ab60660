"""What a WebSocket's client gets of an engine's answer."""

from __future__ import annotations

import pytest

from gateway.engine_errors import EngineFailed
from gateway.ws_client import SocketClient
from scheduling.core.outcome import Outcome


@pytest.mark.parametrize(
    "data",
    [b'{"a":"\xff"}', b"[" * 5000 + b"]" * 5000, b'{"a":'],
    ids=["no text", "too deep", "no JSON"],
)
async def test_an_event_that_no_frame_can_hold_is_the_engines_fault(data):
    sent = []

    async def send(message):
        sent.append(message["text"])

    client = SocketClient(send, {})
    await client.begin(200, [(b"content-type", b"text/event-stream")])
    await client.write(b'data: {"a":"\xc3\xa9"}\n\n')

    with pytest.raises(EngineFailed) as failed:
        await client.write(b"data: " + data + b"\n\n")
    client.close()

    assert failed.value.ended is Outcome.UPSTREAM_GARBAGE
    assert sent == ['{"type":"chunk","data":{"a":"\u00e9"}}']
