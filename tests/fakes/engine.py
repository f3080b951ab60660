"""Simulated engines for tests: in this process, or as a process that can be killed.

async with running_engine(max_num_seqs=2, time_scale=10) as engine:
    engine.url, engine.model, engine.faults

async with engine_process("--max-num-seqs", "2") as process:
    process.url; process.kill()
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from scheduling.simulation.engine.options import EngineOptions
from scheduling.simulation.engine.server import EngineServer

START_S = 20


@asynccontextmanager
async def running_engine(**options) -> AsyncIterator[EngineServer]:
    """An engine on a free port of this event loop. ``options`` are the fields of EngineOptions."""
    server = EngineServer(EngineOptions(**options))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@dataclass(slots=True)
class EngineProcess:
    """An engine in a process of its own."""

    process: asyncio.subprocess.Process
    url: str

    def kill(self) -> None:
        """SIGKILL: no goodbye to anybody."""
        self.process.kill()


@asynccontextmanager
async def engine_process(*flags: str, port: int = 0) -> AsyncIterator[EngineProcess]:
    """An engine started with these flags; it is dead when the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "scheduling.simulation.engine",
        "--port",
        str(port),
        *flags,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), START_S)).decode()
        found = re.search(r"listening on (\S+)", line)
        assert found, f"the engine said {line!r} instead of where it listens"
        yield EngineProcess(process, found[1])
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # asyncio leaves the pipe's transport open otherwise
