"""What the relay costs: CPU microseconds for each chunk of a stream and for each request.

    python -m benchmarks.relay            # one JSON line
    python -m benchmarks.relay --chunks 50000

`scanner_us_per_chunk` is the event scanner alone; `relay_us_per_chunk` adds
llhttp's framing and the reader's wake-up, still without sockets. The
`loopback_*` figures are the CPU time of this process with an engine in
another one, so they include the kernel's share. All are the best of several
rounds, because other work on the machine only ever adds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe

import uvloop

from gateway.connection import Connection
from gateway.relay import EngineCall, Relay, RelayOptions, Reply
from gateway.sse import SseScanner
from scheduling.core.usage import Usage
from scheduling.engines.endpoint import Endpoint

EVENT = (
    b'data: {"id":"chatcmpl-abbfbe32cb18669f","object":"chat.completion.chunk","created":1795435054,'
    b'"model":"tiny","choices":[{"index":0,"delta":{"content":" hello"},"logprobs":null,"finish_reason":null,'
    b'"token_ids":null}]}\n\n'
)
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":64}}\n\n'
DONE = b"data: [DONE]\n\n"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
JSON = b'{"id":"c1","choices":[{"message":{"content":"' + b"x" * 400 + b'"}}],'
JSON += b'"usage":{"prompt_tokens":12,"completion_tokens":64}}'
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(JSON),
    JSON,
)
STREAM_CALL = EngineCall("r1", "/v1/chat/completions", (b"{}",), stream=True, strip_usage=True)
PLAIN_CALL = EngineCall("r1", "/v1/completions", (b"{}",), stream=False, strip_usage=False)
EVENTS_PER_STREAM = 64
ROUNDS = 7


def framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNK = framed(EVENT)
END = framed(USAGE) + framed(DONE) + b"0\r\n\r\n"


def nothing() -> None:
    """What happens at the first token here."""


def best(measure: Callable[[], float]) -> float:
    return round(min(measure() for _ in range(ROUNDS)), 3)


def scanner_us(chunks: int) -> float:
    """The scanner alone, per chunk after the first token."""
    scanner = SseScanner(Usage(), nothing, strip_usage=True, event_bytes=1 << 20)
    scanner.feed(EVENT)
    feed = scanner.feed
    begun = time.process_time()
    for _ in range(chunks):
        feed(EVENT)
    return (time.process_time() - begun) / chunks * 1e6


class NoSocket(asyncio.Transport):
    """Takes what is written and says nothing."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nobody listens."""

    def writelines(self, parts: object) -> None:
        """Nobody listens."""

    def abort(self) -> None:
        """Nothing to close."""

    def set_protocol(self, protocol: object) -> None:
        """Nobody calls it."""


class Nowhere:
    """The pool of a connection that has none."""

    def add(self, connection: Connection) -> None: ...
    def keep(self, connection: Connection) -> None: ...
    def forget(self, connection: Connection) -> None: ...


async def relay_us(chunks: int) -> float:
    """Framing, scanning and waking the reader, one chunk at a time."""
    connection = Connection(Nowhere(), 0.0)
    connection.connection_made(NoSocket())
    reply = Reply("gpu-0", STREAM_CALL, Usage(), nothing, RelayOptions())
    connection.send(reply, b"", ())
    connection.data_received(HEAD + CHUNK)
    loop = asyncio.get_running_loop()
    reader = aiter(reply)
    await anext(reader)
    begun = time.process_time()
    for _ in range(chunks):
        loop.call_soon(connection.data_received, CHUNK)
        await anext(reader)
    spent = time.process_time() - begun
    reply.close()
    return spent / chunks * 1e6


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An engine without a model."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
            if b"/v1/completions" in head:
                writer.write(PLAIN)
                continue
            writer.write(HEAD)
            for _ in range(EVENTS_PER_STREAM):
                writer.write(CHUNK)
                await asyncio.sleep(0)
            writer.write(END)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def engine(pipe: Pipe) -> None:
    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


async def loopback_us(port: int, call: EngineCall, requests: int, at_once: int) -> tuple[float, float]:
    """CPU microseconds and requests per second, with ``at_once`` callers."""
    relay = Relay(RelayOptions())
    relay.set_endpoints({"gpu-0": Endpoint("gpu-0", f"http://127.0.0.1:{port}")})

    async def caller(count: int) -> None:
        for _ in range(count):
            async with relay.open("gpu-0", call, Usage(), nothing) as reply:
                async for _ in reply:
                    pass

    await asyncio.gather(*(caller(2) for _ in range(at_once)))
    spent, begun = time.process_time(), time.perf_counter()
    await asyncio.gather(*(caller(requests // at_once) for _ in range(at_once)))
    spent, took = time.process_time() - spent, time.perf_counter() - begun
    await relay.close()
    return spent / requests * 1e6, requests / took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--chunks", type=int, default=20_000, help="chunks a round, without sockets")
    parser.add_argument("--requests", type=int, default=640, help="requests a round over the loopback")
    parser.add_argument("--at-once", type=int, default=32, help="callers over the loopback")
    options = parser.parse_args()
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=engine, args=(theirs,), daemon=True)
    process.start()
    port = mine.recv()

    def over_loopback(call: EngineCall) -> tuple[float, float]:
        return min(
            uvloop.run(loopback_us(port, call, options.requests, options.at_once)) for _ in range(ROUNDS)
        )

    plain_us, plain_rate = over_loopback(PLAIN_CALL)
    stream_us, stream_rate = over_loopback(STREAM_CALL)
    process.terminate()
    process.join()
    print(
        json.dumps(
            {
                "benchmark": "relay",
                "scanner_us_per_chunk": best(lambda: scanner_us(options.chunks)),
                "relay_us_per_chunk": best(lambda: uvloop.run(relay_us(options.chunks))),
                "loopback_us_per_request": round(plain_us, 1),
                "loopback_requests_per_s": round(plain_rate),
                "loopback_us_per_chunk": round(stream_us / EVENTS_PER_STREAM, 2),
                "loopback_chunks_per_s": round(stream_rate * EVENTS_PER_STREAM),
            }
        )
    )


if __name__ == "__main__":
    main()
