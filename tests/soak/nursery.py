"""A process that gives birth to gateways: `python -m tests.soak.nursery JOURNAL ENGINE_URL SECRETS_JSON`.

For each line on its standard input it forks one, which has everything
imported and so serves within milliseconds, and prints ``<pid> <url>``. Each is a
whole gateway process with a journal of its own, and its to be killed. The
database is that of ``DATABASE_URL``.

What was accepted stands in two files beside the journal: ``about-to`` gets the
id before the journal has the request, ``accepted`` after.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote

import django

if __name__ == "__main__":
    django.setup()

from gateway.consumers import GatewayConsumer
from gateway.http_protocol import GatewayProtocol
from gateway.journal import Journal
from gateway.records import store
from gateway.relay import Relay, RelayOptions
from gateway.serve import Gateway, Parts
from scheduling.dispatchers.memory import MemoryDispatcher
from scheduling.engines.endpoint import Endpoint
from tests.fakes.gateway import Cast, serving
from tests.fakes.waiting import clock_ms

ABOUT_TO, ACCEPTED = "about-to", "accepted"


class WitnessedJournal(Journal):
    """A journal whose acceptances somebody else can count."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, store, every_s=0.03, sync_s=0.1)
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND
        self._before, self._after = (os.open(folder.parent / name, flags) for name in (ABOUT_TO, ACCEPTED))

    def accept(self, record):
        line = f"{record.request_id}\n".encode()
        os.write(self._before, line)
        super().accept(record)
        os.write(self._after, line)


async def serve(folder: Path, engine_url: str, cast: Cast) -> None:
    """One gateway, until it is killed."""
    relay = Relay(RelayOptions())
    relay.set_endpoints({"gpu-0": Endpoint("gpu-0", engine_url)})
    journal = WitnessedJournal(folder)
    dispatcher = MemoryDispatcher(cast.policy(), clock_ms)
    gateway = Gateway(Parts(dispatcher, relay, journal, lambda: 0.0, b"salt"))
    gateway.set_policy(cast.policy())
    gateway.set_callers(cast.callers())
    journal.start()
    gateway.start()
    consumer = GatewayConsumer(gateway)
    async with serving(consumer, partial(GatewayProtocol, consumer.serve)) as (_, url):
        print(os.getpid(), url, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Fork a gateway for each line read."""
    folder, engine_url, secrets = sys.argv[1:]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are buried by the kernel
    children = []
    for _ in sys.stdin:
        if child := os.fork():
            children.append(child)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        asyncio.run(serve(Path(folder), engine_url, Cast(json.loads(secrets))))
    for child in children[-1:]:
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            continue


class Nursery:
    """The process, from outside."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def bear(self) -> tuple[int, str]:
        """A new gateway: its process and where it serves."""
        self._process.stdin.write(b"\n")
        told = await asyncio.wait_for(self._process.stdout.readline(), 30)
        pid, url = told.decode().split()
        return int(pid), url


@asynccontextmanager
async def running_nursery(journal: Path, engine_url: str, cast: Cast, database_url: str):
    """A nursery on this database; the last gateway dies with it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.soak.nursery",
        str(journal),
        engine_url,
        json.dumps(cast.secrets),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "DATABASE_URL": database_url},
    )
    try:
        yield Nursery(process)
    finally:
        process.stdin.close()
        await process.wait()
        process._transport.close()


def url_of(database: dict) -> str:
    """Django's settings of a database on a unix socket as a URL."""
    return f"postgres://{database['USER']}@{quote(str(database['HOST']), safe='')}/{database['NAME']}"


if __name__ == "__main__":
    main()
