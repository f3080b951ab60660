"""Run one simulated engine until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable

import uvloop

from scheduling.simulation.engine.options import EngineOptions
from scheduling.simulation.engine.server import EngineServer

DIED = 70  # exit status after the failure "die"


class PortTaken(Exception):
    """Somebody else listens on the port."""


def run(options: EngineOptions, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; ``say`` gets the one line that tells where.

    Raises PortTaken, and OSError for other troubles with the address or the
    certificate.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options, say))


async def _serve(options: EngineOptions, say: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = EngineServer(options, die=lambda: os._exit(DIED))
    try:
        await server.start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"port {options.port} on {options.host} is taken: choose another with --port, "
                "or --port 0 for a free one"
            ) from None
        raise
    say(
        f"Simulated engine listening on {server.url} (model {options.model}, {options.profile}, "
        f"{options.max_num_seqs} sequences, {options.scheduling_policy}, {options.time_scale:g} x real time)"
    )
    await stop.wait()
    await server.stop()
