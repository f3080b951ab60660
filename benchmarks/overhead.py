"""What the gateway costs per request: the same load straight at an engine, and through the gateway.

    python -m benchmarks.overhead                  # prints one JSON line
    python -m benchmarks.overhead --seconds 5 --connections 64

One process is both the engine (a canned answer) and the clients; the gateway
runs in another, with its real parts: doorman, quotas, dispatcher, relay and
the journal on disk (records are read back but not sent to a database). The
two loads alternate in one run, so ratios hold on a busy machine; CPU time
per request is the kernel's account of the gateway's process.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import django
import httptools
import uvicorn
import uvloop

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()  # what is asked of the gateway itself may read the database

from gateway.callers import Caller, CallerTable
from gateway.consumers import GatewayConsumer
from gateway.journal import Journal
from gateway.relay import Relay, RelayOptions
from gateway.serve import Gateway, Parts
from gateway.tokens import digest, generate
from scheduling.core.policy import BackendRule, ClassRule, Policy, PoolRule, TenantRule
from scheduling.dispatchers.memory import MemoryDispatcher
from scheduling.engines.endpoint import Endpoint

MODEL, POOL, BACKEND, TENANT = "bench", "main", "canned", "bench"
ROUNDS = 3
WARM_S = 0.5
CHUNKS = 64
SECRET_VARIABLE = "FAIRLANE_BENCH_SECRET"
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": MODEL,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "x" * 60}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 16, "total_tokens": 28},
    }
).encode()
EVENT = (
    b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}\n\n'
)
LAST = b'data: {"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":64}}\n\ndata: [DONE]\n\n'


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(ANSWER),
    ANSWER,
)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
TAIL = _chunk(LAST) + b"0\r\n\r\n"


class Engine(asyncio.Protocol):
    """Answers every request at once; a stream in one write per chunk."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        stream, self._body = b'"stream":true' in self._body, b""
        if not stream:
            self._transport.write(WHOLE)
            return
        self._transport.write(HEAD)
        for _ in range(CHUNKS):
            self._transport.write(_chunk(EVENT))
        self._transport.write(TAIL)


class Client(asyncio.Protocol):
    """One connection that asks again as soon as it has its answer."""

    def __init__(self, request: bytes, until_s: float, spans_s: list[float]) -> None:
        self._request, self._until_s, self._spans_s = request, until_s, spans_s
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._began_s = time.perf_counter()
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() != 200:
            self._end(RuntimeError(f"status {self._parser.get_status_code()}"))
            return
        now_s = time.perf_counter()
        self._spans_s.append(now_s - self._began_s)
        if now_s < self._until_s:
            asyncio.get_running_loop().call_soon(self._ask)
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionError("closed"))

    def _end(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error) if error else self.done.set_result(None)
            self._transport.close()


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked, by how many connections, for how long."""

    secret: str
    stream: bool
    connections: int
    seconds: float

    @property
    def request(self) -> bytes:
        messages = [{"role": "user", "content": "hello there"}]
        members = {"model": MODEL, "messages": messages, "max_tokens": 16, "stream": self.stream}
        body = json.dumps(members, separators=(",", ":")).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self.secret}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def run(self, port: int) -> dict[str, float]:
        """Requests per second, and the median time of one."""
        spans_s: list[float] = []
        loop, request, began_s = asyncio.get_running_loop(), self.request, time.perf_counter()
        clients = []
        for _ in range(self.connections):
            client = Client(request, began_s + self.seconds, spans_s)
            await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
            clients.append(client)
        await asyncio.gather(*(client.done for client in clients))
        took_s = time.perf_counter() - began_s
        median_ms = statistics.median(spans_s) * 1000
        return {"rps": len(spans_s) / took_s, "p50_ms": median_ms, "requests": len(spans_s)}


def cpu_s(pid: int) -> float:
    """CPU seconds of all threads of a process, by the scheduler's own account."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


async def serve(engine_port: int, secret: str) -> None:
    """The gateway's process: prints its port and serves until it is ended."""
    policy = Policy(
        revision=1,
        tenants=MappingProxyType({TENANT: TenantRule(TENANT)}),
        classes=MappingProxyType({"standard": ClassRule("standard", 1)}),
        pools=MappingProxyType({POOL: PoolRule(POOL, window_requests=1000)}),
        backends=MappingProxyType(
            {BACKEND: BackendRule(BACKEND, POOL, frozenset({MODEL}), max_in_flight=1000)}
        ),
        models=MappingProxyType({MODEL: POOL}),
    )
    relay = Relay(RelayOptions())
    relay.set_endpoints({BACKEND: Endpoint(BACKEND, f"http://127.0.0.1:{engine_port}")})
    dispatcher = MemoryDispatcher(policy, lambda: int(time.monotonic() * 1000))
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder), lambda records: None, 0.25)
        journal.start()
        gateway = Gateway(Parts(dispatcher, relay, journal, lambda: 0.0, b"salt"))
        gateway.set_policy(policy)
        gateway.set_callers(CallerTable(1, MappingProxyType({digest(secret): Caller(1, TENANT, "bench")})))
        config = uvicorn.Config(
            GatewayConsumer(gateway), port=0, http="httptools", ws="none", lifespan="off",
            log_config=None, access_log=False, proxy_headers=False,
        )  # fmt: skip
        server = uvicorn.Server(config)
        gc.freeze()
        running = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        await running
        journal.stop()


async def measure(seconds: float, connections: int) -> dict[str, object]:
    """Alternate the two loads; medians over the rounds."""
    loop, secret = asyncio.get_running_loop(), generate()
    engine = await loop.create_server(Engine, "127.0.0.1", 0)
    engine_port = engine.sockets[0].getsockname()[1]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.overhead", "--serve", str(engine_port),
        env={**os.environ, SECRET_VARIABLE: secret}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        port = int(await child.stdout.readline())
        await Load(secret, False, connections, WARM_S).run(port)
        result: dict[str, object] = {"benchmark": "overhead", "connections": connections, "chunks": CHUNKS}
        for name, stream in (("whole", False), ("stream", True)):
            load = Load(secret, stream, connections, seconds)
            rounds = [await compare(load, engine_port, port, child.pid) for _ in range(ROUNDS)]
            result[name] = {key: round(statistics.median(r[key] for r in rounds), 3) for key in rounds[0]}
        return result
    finally:
        child.terminate()
        await child.wait()
        engine.close()


async def compare(load: Load, engine_port: int, port: int, pid: int) -> dict[str, float]:
    """One load straight at the engine, then the same through the gateway."""
    direct = await load.run(engine_port)
    before_s = cpu_s(pid)
    through = await load.run(port)
    cpu_us = (cpu_s(pid) - before_s) / through["requests"] * 1e6
    return {
        "direct_rps": direct["rps"],
        "gateway_rps": through["rps"],
        "ratio": through["rps"] / direct["rps"],
        "added_p50_ms": through["p50_ms"] - direct["p50_ms"],
        "gateway_cpu_us": cpu_us,
        "requests_per_core_s": 1e6 / cpu_us,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one load")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--serve", type=int, metavar="ENGINE_PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.serve, os.environ[SECRET_VARIABLE]))
    else:
        print(json.dumps(uvloop.run(measure(options.seconds, options.connections))))


if __name__ == "__main__":
    main()
