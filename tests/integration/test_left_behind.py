"""What a request that failed, or was left, holds after its end: nothing, with no help of the collector.

That comes seldom, and a request may hold a prompt of megabytes.
"""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from gateway.work import Work
from tests.fakes.faulty import CHUNKED_HEAD, answer, chunk
from tests.fakes.faulty_gateway import BODY, EVENT, GOOD, STREAM, WHOLE, gateway, send_raw
from tests.fakes.relay_client import ERROR
from tests.fakes.waiting import until

REFUSED = answer(b'{"error":{"message":"too long"}}', "400 Bad Request")
FAILED = answer(b'{"error":{"message":"no memory"}}', "500 Internal Server Error")
BEGUN = CHUNKED_HEAD + chunk(EVENT)


@pytest.fixture
def works(monkeypatch):
    """Those that were accepted and are still there."""
    accepted = []
    accept = Work.accept

    def remembered(work, *args):
        accepted.append(weakref.ref(work))
        accept(work, *args)

    monkeypatch.setattr(Work, "accept", remembered)
    gc.collect()
    gc.disable()
    try:
        yield lambda: [work for each in accepted if (work := each()) is not None]
    finally:
        gc.enable()


def says(*answers):
    """One of these for each request, each in parts, and hangs up; the last one for all further requests."""
    left = list(answers)

    async def script(peer):
        await peer.request()
        for part in left.pop(0) if len(left) > 1 else left[0]:
            await peer.send(part)
            await asyncio.sleep(0.02)

    return script


async def never(peer):
    await peer.request()
    await peer.closed()


async def begins(peer):
    await peer.request()
    await peer.send(BEGUN)
    await peer.closed()


@pytest.mark.parametrize(
    ("body", "script", "last"),
    [
        (BODY, says([REFUSED]), b"too long"),
        (BODY, says([FAILED]), b"server error"),
        (BODY, says([WHOLE[:-3]]), b"broke off"),
        (BODY, says([FAILED], [WHOLE]), b"usage"),
        (STREAM, says([BEGUN]), b"broke off"),
        (STREAM, says([BEGUN, chunk(ERROR)]), b"out of memory"),
        (STREAM, says([b""], [GOOD]), b"[DONE]"),
    ],
    ids=[
        "refused",
        "failed",
        "cut off",
        "a second try",
        "broken off",
        "an error in it",
        "a stream's second try",
    ],
)
async def test_a_request_that_an_engine_failed_leaves_nothing(works, body, script, last):
    async with gateway(script, script) as (served, _):
        reader, writer = await send_raw(served, body)
        said = b""
        async with asyncio.timeout(5):
            while last not in said and (part := await reader.read(65536)):
                said += part
        assert last in said
        writer.close()
        await until(lambda: not served.gateway.pulse.clients)
        await until(lambda: not works())


@pytest.mark.parametrize(
    ("script", "begun"), [(never, b""), (begins, EVENT)], ids=["waiting", "in its stream"]
)
async def test_a_request_whose_client_left_leaves_nothing(works, script, begun):
    async with gateway(script) as (served, engines):
        reader, writer = await send_raw(served, STREAM)
        await until(lambda: engines[0].asked)
        await reader.readuntil(begun) if begun else None
        clients = [weakref.ref(client) for client in served.gateway.pulse.clients]
        writer.transport.abort()
        await until(lambda: not served.gateway.pulse.clients)
        await until(lambda: not works())
        await until(lambda: clients[0]() is None)
