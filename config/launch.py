"""`serve` from the first check to the last child's end."""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import redis
from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections

from config import admins, demo, lock, programs, reach, running, screen, servers
from config.child import ChildReport, Program
from config.output import Output
from config.programs import Listen
from config.supervisor import OURSELVES, Supervisor
from config.trouble import Trouble
from scheduling import selectors

CHILDREN_KEY = "fairlane:children"  # Valkey; JSON, see report_to
CHILDREN_LIFE_S = 5
BUS_TIMEOUT_S = 0.3  # the supervisor must not wait for a bus that hangs
PROBE_TIMEOUT_S = 0.5
OTHER_COMMAND_S = 20.0  # how long to wait for a command that has the embedded servers for its own time


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    listen: Listen
    demo: bool | None  # None: decide by what is configured


def run(options: Options, data: Path) -> None:
    """Serve until a signal. Raises Trouble, or Failed when a process did not come up."""
    check_ports(options.listen)
    with ExitStack() as stack:
        stack.enter_context(_only_one(data))
        needed = servers.Needed.now()
        started = servers.start(data, needed)
        stack.callback(servers.stop, started)  # a supervisor that ran has done it: then it does nothing
        welcome, ports = prepare(options, needed)
        os.environ.update(programs.environment(data, options.listen))
        _supervise(options.listen, data, started, welcome, ports)


def check_ports(listen: Listen) -> None:
    """Raises Trouble when we cannot listen where we should."""
    flags = {listen.port: "--port", listen.console_port: "--console-port"}
    for port, flag in flags.items():
        if port is None:
            continue
        family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((listen.host, port))
            except PermissionError:
                raise Trouble(f"Port {port} needs more rights than this user has: use {flag} 8000.") from None
            except OSError as error:
                raise Trouble(
                    f"Cannot listen on {listen.host} port {port}: {error.strerror}. "
                    f"Stop what uses it (ss -ltnp 'sport = :{port}' shows it), or choose another with {flag}."
                ) from None


def prepare(options: Options, needed: servers.Needed) -> tuple[screen.Welcome, dict[str, int]]:
    """Bring the database up to date and see to the first admin and the demo; ports of demo engines.

    Leaves no connection and no thread behind: children are forked afterwards.
    """
    reach.postgres()
    reach.valkey()
    try:
        call_command("migrate", verbosity=0, interactive=False)
        first = admins.create_first()
        with_demo = demo.wanted(asked=options.demo, embedded=needed.postgres)
        secret = demo.seed() if with_demo else None
        ports = demo.place_engines() if with_demo else {}
        welcome = screen.Welcome(
            admin=admins.waits_for_password(),
            link=admins.link_path(first.username) if first else None,
            demo=with_demo,
            secret=secret,
            backends=selectors.backends().count(),
        )
        return welcome, ports
    finally:
        connections.close_all()
        connection.close_pool()  # type: ignore[attr-defined]  # PostgreSQL's wrapper has it


def report_to(client: redis.Redis) -> Callable[[list[ChildReport]], None]:
    """Writes the children's states where the console reads them: a JSON list of ChildReport."""

    def report(children: list[ChildReport]) -> None:
        page = json.dumps([asdict(child) for child in children])
        try:
            client.set(CHILDREN_KEY, page, ex=CHILDREN_LIFE_S)
        except redis.RedisError:
            return  # the console sees that the bus is away by itself

    return report


def probe(url: str) -> bool:
    """Whether a web process answers that it is ready."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=PROBE_TIMEOUT_S) as answer:  # noqa: S310 - our own
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


@contextmanager
def _only_one(data: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(lock.hold(data, "serve"))
        except lock.Taken as taken:
            if str(taken) == "serve":
                raise _already(data) from None
            stack.enter_context(_after(data, str(taken)))
        yield


@contextmanager
def _after(data: Path, command: str) -> Iterator[None]:
    try:
        with lock.hold(data, "serve", OTHER_COMMAND_S):
            yield
    except lock.Taken:
        raise Trouble(f"`{command}` is at work in {data}. Try again when it has ended.") from None


def _already(data: Path) -> Trouble:
    there = running.read(data)
    where = f" (pid {there.pid}, {there.console_url})" if there else ""
    return Trouble(
        f"Fairlane already runs on {data}{where}. Stop it first, "
        "or give this one a folder and a port of its own: FAIRLANE_DATA_DIR=… and --port."
    )


def _supervise(
    listen: Listen, data: Path, started: servers.Started, welcome: screen.Welcome, ports: dict[str, int]
) -> None:
    drain_s = float(settings.KNOBS["FAIRLANE_DRAIN_S"])
    ours = _servers(data, started)
    all_programs = [
        *ours,
        *programs.engines(ports),
        *programs.web(listen, drain_s),
        *programs.background(drain_s),
    ]
    output = Output(sys.stderr, max(len(program.name) for program in all_programs))

    def on_ready() -> None:
        print(screen.text(listen, welcome), flush=True)  # noqa: T201 - the screen

    urls = {
        f"http://{programs.reachable(listen.host)}:{port}"
        for port in (listen.port, listen.console_port)
        if port
    }
    supervisor = Supervisor(
        all_programs,
        output,
        ready=lambda: all(probe(url) for url in urls),
        on_ready=on_ready,
        report=report_to(reach.client(BUS_TIMEOUT_S)),
    )
    supervisor.adopt({"postgres": started.postgres, "valkey": started.valkey})
    running.write(data, running.Running(os.getpid(), listen.gateway_url, listen.console_url))
    output.say(OURSELVES, f"starting {len(all_programs)} processes; data are in {data}")
    try:
        supervisor.run()
    finally:
        running.forget(data)


def _servers(data: Path, started: servers.Started) -> list[Program]:
    found = []
    if started.postgres:
        found.append(programs.embedded_postgres(data))
    if started.valkey:
        found.append(programs.embedded_valkey(data))
    return found
