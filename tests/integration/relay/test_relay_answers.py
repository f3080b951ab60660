"""What engines answer in good order comes through, in whatever pieces it arrives."""

from __future__ import annotations

import asyncio

import pytest

from gateway.failures import Garbage
from gateway.relay import EngineCall
from scheduling.core.usage import Usage
from tests.fakes.faulty import answer, faulty_engine, says, stream
from tests.fakes.relay_client import DONE, FINISH, JSON, PLAIN, STREAM, TEXT, USAGE, Client


async def test_a_stream_comes_through_without_its_usage_event(client: Client) -> None:
    async with faulty_engine(says(stream(TEXT, FINISH, USAGE, DONE))) as engine:
        client.use(engine)
        reply = await client.call()

    assert client.got == TEXT + FINISH + DONE
    assert client.usage == Usage(12, 0, 34, estimated=False)
    assert client.first_tokens == 1
    assert (reply.status, reply.streamed, reply.head.content_type) == (200, True, b"text/event-stream")


async def test_the_engine_gets_its_own_key_and_nothing_of_the_clients(client: Client) -> None:
    call = EngineCall("r1", "/v1/embeddings", (b"{", b"}"), False, False, ((b"x-request-id", b"r1"),))
    async with faulty_engine(says(answer(JSON))) as engine:
        client.use(engine, "http://localhost:{port}/serve/llama", api_key="engine-key")
        await client.call(call)

    asked = engine.asked[0]
    assert asked.line == b"POST /serve/llama/v1/embeddings HTTP/1.1"
    assert asked.body == b"{}"
    assert asked.headers == {
        b"host": b"localhost:%d" % engine.port,
        b"user-agent": b"fairlane",
        b"accept": b"*/*",
        b"accept-encoding": b"identity",
        b"content-type": b"application/json",
        b"authorization": b"Bearer engine-key",
        b"x-request-id": b"r1",
        b"content-length": b"2",
    }


@pytest.mark.parametrize(
    "header",
    [
        (b"Authorization", b"Bearer fl_x"),
        (b"x-api-key", b"fl_x"),
        (b"x-a", b"1\r\nhost: b"),
        (b"cookie", b"a"),
    ],
)
async def test_a_header_that_could_leak_or_smuggle_is_refused(
    client: Client, header: tuple[bytes, bytes]
) -> None:
    call = EngineCall("r1", "/v1/x", (b"{}",), stream=False, strip_usage=False, headers=(header,))
    async with faulty_engine(says(answer(JSON))) as engine:
        client.use(engine)
        with pytest.raises(ValueError, match="may not be passed"):
            await client.call(call)

    assert not engine.asked


async def test_a_json_answer_is_passed_whole_and_its_usage_read(client: Client) -> None:
    async with faulty_engine(says(answer(JSON, "200 OK", "x-secret: 1", "retry-after: 1"))) as engine:
        client.use(engine)
        reply = await client.call(PLAIN)

    assert client.got == JSON
    assert client.usage == Usage(12, 0, 34, estimated=False)
    assert client.first_tokens == 1
    assert reply.head.content_length == len(JSON)
    assert dict(reply.head.passed).keys() == {b"content-type", b"content-length", b"retry-after"}


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([bytes([byte]) for byte in answer(JSON)], id="byte by byte"),
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n", answer(JSON)], id="1xx first"),
        pytest.param(
            [b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + answer(JSON)], id="103 in one segment"
        ),
    ],
)
async def test_a_head_may_come_in_any_pieces(client: Client, parts: list[bytes]) -> None:
    async with faulty_engine(says(*parts)) as engine:
        client.use(engine)
        reply = await client.call(PLAIN)

    assert (reply.status, client.got) == (200, JSON)


async def test_an_answer_without_a_length_ends_with_its_connection(client: Client) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nConnection: close\r\n\r\n"
    async with faulty_engine(says(head, TEXT, DONE, then="close")) as engine:
        client.use(engine)
        await client.call()
        await client.call()

    assert client.got == (TEXT + DONE) * 2
    assert engine.connections == 2


async def test_a_clients_own_fault_is_an_answer(client: Client) -> None:
    body = b'{"error":{"message":"no such model"}}'
    async with faulty_engine(says(answer(body, "404 Not Found"))) as engine:
        client.use(engine)
        reply = await client.call()

    assert (reply.status, client.got) == (404, body)
    assert client.usage.completion_tokens == 0


async def test_json_where_a_stream_was_asked_is_passed_if_it_is_json(client: Client) -> None:
    async with faulty_engine(says(answer(JSON)), says(answer(JSON[:-1]))) as engine:
        client.use(engine)
        reply = await client.call()
        client.use(engine, "http://127.0.0.1:{port}/b")
        failure = await client.failure()

    assert not reply.streamed
    assert client.got == JSON
    assert isinstance(failure, Garbage)


DEEP = b"[" * 2000 + b"]" * 2000  # deeper than anybody here parses
TWICE = b'{"usage":{"total_tokens":1},"deep":%b,"response":{"usage":{"total_tokens":2}},"id":1}' % DEEP


@pytest.mark.parametrize(
    ("call", "whole", "passed"),
    [
        (PLAIN, answer(TWICE), TWICE),
        (STREAM, stream(TEXT, b'data: {"usage":{},"deep":%b}\n\n' % DEEP, FINISH, DONE), None),
    ],
    ids=["whole", "stream"],
)
async def test_an_answer_too_deep_to_be_parsed_passes_and_is_estimated(
    client: Client, call: EngineCall, whole: bytes, passed: bytes | None
) -> None:
    async with faulty_engine(says(whole)) as engine, asyncio.timeout(5):
        client.use(engine)
        await client.call(call)

    assert passed is None or client.got == passed
    assert DEEP in client.got
    assert client.usage.estimated
    assert client.usage.completion_tokens > 0
