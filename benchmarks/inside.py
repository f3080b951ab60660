"""What a request costs inside of the gateway: whole requests by the short way, without sockets.

    python -m benchmarks.inside                  # one JSON line: CPU microseconds
    python -m benchmarks.inside --instructions   # the same counted by valgrind: exact, and slow
    python -m benchmarks.inside --misses         # with simulated caches: of a whole answer
    python -m benchmarks.inside --profile        # what Python functions take

With ``--capped`` the engine takes 8 requests at once, so that 56 of 64 wait in line.
64 connections and 16 tenants take turns, each with every kind of quota; API
tokens, token_fair dispatch, journal (a file), metrics and headers are on.
The engine and the clients are functions of this process, so what they cost
is in the figures (about 3 microseconds). All are the best of several rounds,
because other work on the machine only ever adds.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import json
import os
import pstats
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import django
import uvicorn
import uvloop
from django.conf import settings
from uvicorn.server import ServerState

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from benchmarks.load import shapes
from config.protocol import BoundedGatewayHttp, HeadBounds
from gateway.callers import Caller, CallerTable
from gateway.connection import Connection
from gateway.consumers import GatewayConsumer
from gateway.journal import Journal
from gateway.relay import Relay, RelayOptions
from gateway.serve import Gateway, Parts
from gateway.tokens import digest, generate
from scheduling.core.policy import QUOTA_KINDS, BackendRule, ClassRule, Policy, PoolRule, TenantRule
from scheduling.dispatchers.memory import MemoryDispatcher
from scheduling.engines.endpoint import Endpoint

CONNECTIONS, TENANTS = 64, 16
LIMIT = 10**12  # of every quota: never reached, always counted
CHUNKS, SEATS, FEW_SEATS = 64, 8_000, 8
ROUNDS, REQUESTS, STREAMS = 9, 640, 128
FEW, MORE = 64, 256  # requests whose instructions are counted
TOKEN = shapes.TOKEN % 0
HEADERS = [(b"date", b"Fri, 03 Jan 2025 00:00:00 GMT")]  # as uvicorn sets them, every second anew


class Wire(asyncio.Transport):
    """A socket without a kernel: what is written to it is a call."""

    def __init__(self, on_bytes: Callable[[bytes], None]) -> None:
        super().__init__()
        self._on_bytes = on_bytes

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._on_bytes(bytes(data))

    def writelines(self, parts: Any) -> None:
        self._on_bytes(b"".join(parts))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def set_protocol(self, protocol: Any) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...


class Asker:
    """One client on its connection, and the engine's connection that may serve it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, done: Callable[[], None]) -> None:
        self._loop, self._done = loop, done
        self.wire = Wire(self._hear)
        self.protocol: Any = None
        self.whole = self.stream = b""

    def ask(self, *, stream: bool) -> None:
        """Send one request."""
        self.protocol.data_received(self.stream if stream else self.whole)

    def _hear(self, data: bytes) -> None:
        if data.endswith((b"}}", b"0\r\n\r\n")):
            self._done()


class Stage:
    """A gateway with an engine and clients around it."""

    def __init__(self, folder: Path, seats: int = SEATS) -> None:
        self.loop = asyncio.get_running_loop()
        self.left, self.chunks = 0, 0
        self._over: asyncio.Future[None] = self.loop.create_future()
        gateway, relay, secrets = build(folder, seats)
        gateway.start()
        consumer = GatewayConsumer(gateway)
        config = uvicorn.Config(consumer, http="httptools", ws="none", lifespan="off", log_config=None)
        config.load()
        state, bounds = ServerState(), HeadBounds.from_knobs(settings.KNOBS)
        state.default_headers = HEADERS
        self.askers = [Asker(self.loop, self._one_done) for _ in range(CONNECTIONS)]
        pool = relay._pools["gpu-0"]  # noqa: SLF001 - there is no socket to connect to
        for number, asker in enumerate(self.askers):
            make = partial(BoundedGatewayHttp, bounds, consumer.serve)
            asker.protocol = make(config=config, server_state=state, app_state={}, _loop=self.loop)
            asker.protocol.connection_made(asker.wire)
            header = {"authorization": f"Bearer {secrets[number % TENANTS]}"}
            bodies = [shapes.body("bench", 160, stream=stream) for stream in (False, True)]
            asker.whole, asker.stream = (
                shapes.request("/v1/chat/completions", header, body) for body in bodies
            )
            connection = Connection(pool, self.loop.time())
            connection.connection_made(Wire(partial(self._answer, connection)))
            pool.keep(connection)

    async def play(self, requests: int, chunks: int | None = None) -> None:
        """All clients ask at once, and again, until so many requests are answered."""
        self.chunks = chunks or 0
        for _ in range(requests // CONNECTIONS):
            self.left, self._over = CONNECTIONS, self.loop.create_future()
            for asker in self.askers:
                asker.ask(stream=chunks is not None)
            await self._over
            await asyncio.sleep(0)

    def _one_done(self) -> None:
        self.left -= 1
        if not self.left:
            self._over.set_result(None)

    def _answer(self, connection: Connection, data: bytes) -> None:
        if b'"stream":true' not in data:
            self.loop.call_soon(connection.data_received, shapes.ANSWER)
            return
        self.loop.call_soon(connection.data_received, shapes.STREAM_BEGIN)
        self.loop.call_soon(self._go_on, connection, self.chunks)

    def _go_on(self, connection: Connection, chunks: int) -> None:
        if chunks:
            connection.data_received(TOKEN)
            self.loop.call_soon(self._go_on, connection, chunks - 1)
        else:
            connection.data_received(shapes.STREAM_END)


def build(folder: Path, seats: int) -> tuple[Gateway, Relay, list[str]]:
    """A gateway whose engine has no address, and the secrets of its tenants."""
    names = [f"t-{number}" for number in range(TENANTS)]
    quotas = MappingProxyType(dict.fromkeys(QUOTA_KINDS, LIMIT))
    classes = (ClassRule("interactive", 0), ClassRule("standard", 1), ClassRule("batch", 2))
    policy = Policy(
        revision=1,
        tenants=MappingProxyType({name: TenantRule(name, quotas=quotas) for name in names}),
        classes=MappingProxyType({rule.name: rule for rule in classes}),
        pools=MappingProxyType({"bench": PoolRule("bench", window_requests=128)}),
        backends=MappingProxyType(
            {"gpu-0": BackendRule("gpu-0", "bench", frozenset({"bench"}), max_in_flight=seats)}
        ),
        models=MappingProxyType({"bench": "bench"}),
    )
    relay = Relay(RelayOptions())
    relay.set_endpoints({"gpu-0": Endpoint("gpu-0", "http://127.0.0.1:1")})
    dispatcher = MemoryDispatcher(policy, lambda: int(time.monotonic() * 1000))
    journal = Journal(folder, lambda records: None, every_s=60)
    gateway = Gateway(Parts(dispatcher, relay, journal, lambda: 0.0, b"salt"))
    secrets = [generate() for _ in names]
    callers = {
        digest(secret): Caller(number, name, "load")
        for number, (name, secret) in enumerate(zip(names, secrets, strict=True))
    }
    gateway.set_policy(policy)
    gateway.set_callers(CallerTable(1, MappingProxyType(callers)))
    return gateway, relay, secrets


async def cpu(seats: int) -> dict[str, float]:
    """CPU microseconds of a whole answer, of a stream without tokens, and of each of its tokens."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), seats)
        await stage.play(REQUESTS)
        gc.collect()
        gc.freeze()
        whole = await _best(stage, REQUESTS)
        bare, full = await _best(stage, STREAMS, 0), await _best(stage, STREAMS, CHUNKS)
    chunk = (full - bare) / CHUNKS
    return {"request_us": round(whole, 1), "stream_us": round(bare, 1), "chunk_us": round(chunk, 2)}


async def _best(stage: Stage, requests: int, chunks: int | None = None) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        await stage.play(requests, chunks)
        times.append((time.process_time() - began) / requests * 1e6)
    return min(times)


async def only(requests: int, chunks: int | None, seats: int, *, profiled: bool = False) -> None:
    """So many requests, for whoever counts from outside."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), seats)
        await stage.play(FEW, chunks)
        gc.disable()
        with cProfile.Profile() if profiled else tempfile.TemporaryFile() as profile:
            await stage.play(requests, chunks)
        if profiled:
            pstats.Stats(profile).sort_stats("tottime").print_stats(70)


def instructions(capped: Sequence[str]) -> dict[str, int]:
    """Instructions of one whole answer, of one stream, and of one token."""
    tool, found = ["--tool=callgrind", "--callgrind-out-file=/dev/null"], {"all": r"Collected : (\d+)"}
    counted = {
        kind: _counted(tool, found, [*capped, "--chunks", chunks])["all"]
        for kind, chunks in {"whole": "none", "bare": "0", "full": str(CHUNKS)}.items()
    }
    chunk = (counted["full"] - counted["bare"]) // CHUNKS
    return {"request": counted["whole"], "stream": counted["bare"], "chunk": chunk}


def misses(capped: Sequence[str]) -> dict[str, int]:
    """What a whole answer does not find in the nearest caches (32 KiB each), nor in the next (1 MiB)."""
    caches = [f"--{cache}=32768,8,64" for cache in ("I1", "D1")]
    tool = ["--tool=cachegrind", "--cachegrind-out-file=/dev/null", "--cache-sim=yes", *caches]
    names = ("I   refs", "I1  misses", "D   refs", "D1  misses", "LL misses")
    found = {name: rf"{name}: +([\d,]+)" for name in names}
    return _counted([*tool, "--LL=1048576,8,64"], found, capped)


def _counted(tool: list[str], found: dict[str, str], options: Sequence[str]) -> dict[str, int]:
    """What a tool of valgrind counts for one request, by name; ``found`` is where it says so."""
    few, more = (_count(tool, found, requests, options) for requests in (FEW, MORE))
    return {name: (more[name] - few[name]) // (MORE - FEW) for name in found}


def _count(tool: list[str], found: dict[str, str], requests: int, asked: Sequence[str]) -> dict[str, int]:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise SystemExit("There is no valgrind. To count instructions: apt-get install valgrind")
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    line = [valgrind, *tool, sys.executable, "-m", "benchmarks.inside", "--only", str(requests), *asked]
    said = subprocess.run(line, capture_output=True, text=True, check=True, env=environ).stderr
    counted = {name: re.search(where, said) for name, where in found.items()}
    if not all(counted.values()):
        raise SystemExit(f"valgrind counted nothing: {said[-400:]}")
    return {name: int(match[1].replace(",", "")) for name, match in counted.items() if match}


def main() -> None:
    """Measure, and print one JSON line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--instructions", action="store_true", help="count instead of measuring time")
    options.add_argument("--misses", action="store_true", help="count what is not in the caches")
    options.add_argument("--profile", action="store_true", help="whole answers under cProfile")
    options.add_argument("--only", type=int, metavar="N", help="run N requests and say nothing")
    options.add_argument(
        "--chunks", default="none", help="of each of them; none: whole answers (with --only)"
    )
    options.add_argument("--capped", action="store_true", help=f"the engine takes {FEW_SEATS} at once")
    chosen = options.parse_args()
    seats, capped = (FEW_SEATS, ["--capped"]) if chosen.capped else (SEATS, [])
    if chosen.only or chosen.profile:
        chunks = None if chosen.chunks == "none" else int(chosen.chunks)
        uvloop.run(only(chosen.only or REQUESTS, chunks, seats, profiled=chosen.profile))
    elif chosen.instructions or chosen.misses:
        print(json.dumps(misses(capped) if chosen.misses else instructions(capped)))
    else:
        print(json.dumps(uvloop.run(cpu(seats))))


if __name__ == "__main__":
    main()
