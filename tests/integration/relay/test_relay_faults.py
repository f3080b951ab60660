"""Engines that break every rule: each fault ends in its own failure, at once, and nothing leaks."""

from __future__ import annotations

import asyncio

import pytest

from gateway.failures import (
    BackendFailure,
    Broken,
    Busy,
    ConnectFailed,
    EngineErrored,
    FirstByteTimeout,
    Garbage,
    Stalled,
    Stopping,
    Truncated,
)
from gateway.relay import EngineCall
from scheduling.core.outcome import Outcome
from scheduling.core.usage import Usage
from tests.fakes.faulty import CHUNKED_HEAD, LAST_CHUNK, Peer, answer, chunk, faulty_engine, says, stream
from tests.fakes.relay_client import (
    BRIEF_S,
    DONE,
    ERROR,
    FINISH,
    JSON,
    PLAIN,
    STREAM,
    TEXT,
    Client,
    relay_client,
)


async def test_nobody_listens(client: Client) -> None:
    async with faulty_engine(says(b"")) as engine:
        client.use(engine)
    failure = await client.failure()

    assert isinstance(failure, ConnectFailed)
    assert failure.retryable
    assert failure.outcome == Outcome.CONNECT_FAIL


async def test_an_unknown_backend_has_no_address(client: Client) -> None:
    assert isinstance(await client.failure(), ConnectFailed)


@pytest.mark.parametrize("call", [STREAM, PLAIN], ids=["stream", "plain"])
@pytest.mark.parametrize("head", [b"", CHUNKED_HEAD], ids=["before its head", "after its head"])
async def test_an_engine_that_does_not_begin(head: bytes, call: EngineCall) -> None:
    if call is PLAIN:
        head = head.replace(b"text/event-stream", b"application/json")
    async with (
        relay_client(first_byte_s=BRIEF_S) as client,
        faulty_engine(says(head, then="stall")) as engine,
    ):
        client.use(engine)
        failure = await client.failure(call)

    assert isinstance(failure, FirstByteTimeout)
    assert failure.retryable
    assert failure.outcome == Outcome.UPSTREAM_TIMEOUT_TTFT


async def test_an_engine_that_falls_silent_is_charged_for_what_it_delivered() -> None:
    async with (
        relay_client(stall_s=BRIEF_S) as client,
        faulty_engine(says(CHUNKED_HEAD, chunk(TEXT) * 3, then="stall")) as engine,
    ):
        client.use(engine)
        failure = await client.failure()

    assert isinstance(failure, Stalled)
    assert not failure.retryable
    assert client.got == TEXT * 3
    assert client.usage == Usage(5, 0, 3, estimated=True)


async def test_a_trickle_is_no_stall() -> None:
    stall_s = 1.0

    async def trickles(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD)
        for byte in TEXT[:8]:
            await peer.send(chunk(bytes([byte])))
            await asyncio.sleep(stall_s / 6)
        await peer.send(chunk(TEXT[8:]), chunk(DONE), LAST_CHUNK)

    async with relay_client(stall_s=stall_s) as client, faulty_engine(trickles) as engine:
        client.use(engine)
        await client.call()

    assert client.got == TEXT + DONE


async def test_an_engine_that_says_done_but_keeps_the_line_open_is_done() -> None:
    async with (
        relay_client(stall_s=BRIEF_S) as client,
        faulty_engine(says(CHUNKED_HEAD, chunk(TEXT + DONE), then="stall")) as engine,
    ):
        client.use(engine)
        await client.call()

    assert client.got == TEXT + DONE


@pytest.mark.parametrize(
    ("parts", "then", "kind"),
    [
        pytest.param([CHUNKED_HEAD, chunk(TEXT)], "reset", Broken, id="reset"),
        pytest.param([CHUNKED_HEAD, chunk(TEXT)], "close", Broken, id="closed inside its framing"),
        pytest.param([CHUNKED_HEAD, chunk(TEXT)[:-4]], "close", Broken, id="closed inside a chunk"),
        pytest.param([stream(TEXT)], "keep", Truncated, id="clean end without DONE"),
        pytest.param([stream(TEXT, DONE[:-5])], "keep", Truncated, id="clean end inside DONE"),
        pytest.param([CHUNKED_HEAD, chunk(TEXT), b"zz\r\n"], "stall", Garbage, id="broken chunk"),
    ],
)
async def test_a_stream_that_dies_is_never_taken_for_whole(
    client: Client, parts: list[bytes], then: str, kind: type[BackendFailure]
) -> None:
    async with faulty_engine(says(*parts, then=then)) as engine:
        client.use(engine)
        failure = await client.failure()

    assert type(failure) is kind
    assert not failure.retryable
    assert client.got.startswith(TEXT[:-4])


@pytest.mark.parametrize(
    "body", [JSON[:-20], b'{"choices":[', b"", b" \n"], ids=["cut", "begun", "empty", "blank"]
)
async def test_a_json_answer_cut_off_in_good_order_is_never_taken_for_whole(
    client: Client, body: bytes
) -> None:
    async with faulty_engine(says(answer(body))) as engine:
        client.use(engine)
        failure = await client.failure(PLAIN)

    assert type(failure) is Truncated
    assert not failure.retryable


async def test_a_json_answer_may_end_in_white_space(client: Client) -> None:
    async with faulty_engine(says(answer(JSON + b"\r\n"))) as engine:
        client.use(engine)
        await client.call(PLAIN)

    assert client.got == JSON + b"\r\n"


@pytest.mark.parametrize("last", [DONE, FINISH], ids=["done", "an engine that sends no done"])
async def test_a_stream_that_said_its_end_is_whole(client: Client, last: bytes) -> None:
    async with faulty_engine(says(stream(TEXT, last))) as engine:
        client.use(engine)
        await client.call()

    assert client.got == TEXT + last


async def test_a_connection_lost_after_done_is_no_failure(client: Client) -> None:
    async with faulty_engine(says(CHUNKED_HEAD, chunk(TEXT + DONE), then="close")) as engine:
        client.use(engine)
        await client.call()

    assert client.got == TEXT + DONE


async def test_a_json_answer_cut_short_is_broken(client: Client) -> None:
    async with faulty_engine(says(answer(JSON)[:-10], then="close")) as engine:
        client.use(engine)
        failure = await client.failure(PLAIN)

    assert type(failure) is Broken
    assert not failure.retryable


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
@pytest.mark.parametrize(
    ("header", "wait_s"), [("retry-after: 7", 7.0), ("x: y", None), ("retry-after: -1", None)]
)
async def test_a_full_engine_is_busy(client: Client, status: str, header: str, wait_s: float | None) -> None:
    async with faulty_engine(says(answer(b'{"error":1}', status, header))) as engine:
        client.use(engine)
        failure = await client.failure()

    assert isinstance(failure, Busy)
    assert failure.busy
    assert failure.retryable
    assert failure.retry_after_s == wait_s
    assert (failure.status, failure.body) == (int(status[:3]), b'{"error":1}')


async def test_an_engine_error_may_be_retried_and_shows_its_body_bounded(client: Client) -> None:
    async with faulty_engine(says(answer(b"x" * 200_000, "500 Internal Server Error"))) as engine:
        client.use(engine)
        failure = await client.failure()

    assert type(failure) is EngineErrored
    assert failure.retryable
    assert failure.outcome == Outcome.UPSTREAM_5XX
    assert failure.status == 500
    assert failure.body == b"x" * 65536


@pytest.mark.parametrize(
    ("call", "sent"),
    [
        pytest.param(STREAM, answer(b"<html>", kind="text/html"), id="an HTML page for a stream"),
        pytest.param(PLAIN, answer(b"<html>", kind="text/html; charset=utf-8"), id="an HTML page for JSON"),
        pytest.param(PLAIN, stream(TEXT, DONE), id="a stream nobody asked for"),
        pytest.param(STREAM, answer(b"", "302 Found", "location: http://169.254.169.254/"), id="a redirect"),
        pytest.param(
            STREAM, b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", id="an upgrade"
        ),
        pytest.param(STREAM, b"<html>\r\n\r\n", id="no HTTP"),
        pytest.param(STREAM, answer(b"[" * 2000 + b"]" * 2000), id="JSON too deep to be parsed"),
        pytest.param(PLAIN, answer(JSON, "200 OK", "content-encoding: gzip"), id="compressed"),
        pytest.param(PLAIN, b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, id="an endless head"),
        pytest.param(PLAIN, answer(JSON, "200 OK", "transfer-encoding: chunked"), id="two lengths"),
    ],
)
async def test_what_is_no_answer_is_garbage(client: Client, call: EngineCall, sent: bytes) -> None:
    async with faulty_engine(says(sent, then="stall")) as engine:
        client.use(engine)
        failure = await client.failure(call)

    assert isinstance(failure, Garbage)
    assert failure.outcome == Outcome.UPSTREAM_GARBAGE
    assert client.got == b""
    assert len(engine.asked) == 1


@pytest.mark.parametrize(
    ("call", "sent"),
    [
        pytest.param(PLAIN, answer(b'{"error":{"message":"out of memory"}}'), id="as JSON with 200"),
        pytest.param(STREAM, answer(b'{"error":{"message":"out of memory"}}'), id="as JSON for a stream"),
        pytest.param(STREAM, stream(ERROR, DONE), id="as the first event"),
    ],
)
async def test_an_error_dressed_as_an_answer_never_reaches_the_client(
    client: Client, call: EngineCall, sent: bytes
) -> None:
    async with faulty_engine(says(sent)) as engine:
        client.use(engine)
        failure = await client.failure(call)

    assert type(failure) is EngineErrored
    assert failure.retryable
    assert not failure.told
    assert b"out of memory" in failure.body
    assert client.got == b""


@pytest.mark.parametrize("behind", [b"", DONE], ids=["nothing behind it", "and no end behind it"])
async def test_an_error_event_in_the_middle_is_passed_on_once(client: Client, behind: bytes) -> None:
    async def errs(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD, chunk(TEXT))
        await asyncio.sleep(0.02)
        await peer.send(chunk(ERROR + behind))
        await peer.closed()

    async with faulty_engine(errs) as engine:
        client.use(engine)
        failure = await client.failure()

    assert client.got == TEXT + ERROR
    assert failure.told
    assert not failure.retryable
    assert "out of memory" in str(failure)


async def test_closing_the_relay_ends_what_is_under_way(client: Client) -> None:
    async with faulty_engine(says(CHUNKED_HEAD, chunk(TEXT), then="stall")) as engine:
        client.use(engine)
        async with client.open() as reply:
            stream_of = aiter(reply)
            await anext(stream_of)
            await client.relay.close()
            with pytest.raises(Stopping):
                await anext(stream_of)
