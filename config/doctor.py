"""What is wrong here, and the mend: one check per thing the product needs."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from config import embedded, launch, other_user, postgres, reach, running, servers, valkey
from config.celery import CONTROL, JOBS, app
from config.programs import Listen
from config.trouble import Trouble
from gateway import retention
from gateway.journal import REJECTED
from scheduling.control_bus import TICKED

OK, FAILED, OFF = "ok", "failed", "off"
PYTHON_AT_LEAST = (3, 11)
PING_S = 2.0  # how long workers may take to answer
TICK_IS_OLD_S = 15.0
FREE_BYTES_AT_LEAST = 256 * 1024 * 1024  # a gateway that cannot write its journal takes no requests
MIGRATED = "all migrations applied"
START = "Start the product: `make run`."
SEE_SERVE = "`serve` starts it again by itself; what it printed says why it ended."


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. ``off``: not to be judged while the product does not run."""

    name: str
    state: str
    detail: str
    mend: str = ""


def examine(data: Path, listen: Listen) -> Iterator[Check]:
    """All checks, one after the other. Starts the embedded servers while nothing else runs them."""
    yield _python()
    for name, look in _packages():
        yield _tried(name, look)
    yield _tried("data folder", lambda: _folder(data))
    yield _tried("journal", lambda: journal(data / "journal"))
    there = running.read(data)
    if there is None:
        yield _tried("ports", lambda: _ports(listen))
    with ExitStack() as stack:
        yield _tried("embedded servers", lambda: _servers(stack, data))
        database = _tried("PostgreSQL", _postgres)
        yield database
        if database.detail.endswith(MIGRATED):
            yield _tried("usage records", usage_months)
        bus = _tried("Valkey", reach.valkey)
        yield bus
        if there is None:
            yield Check("processes", OFF, "Fairlane does not run on this data folder", START)
            return
        yield _web(there)
        if bus.state == OK:  # Celery would wait for its broker without end
            yield from _workers()
            yield _beat()


def _tried(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, OK, look())
    except Trouble as trouble:
        what, _, mend = str(trouble).partition(". ")
        return Check(name, FAILED, what, mend)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] >= PYTHON_AT_LEAST:
        return Check("Python", OK, version)
    return Check(
        "Python", FAILED, f"{version} is too old", "Install Python 3.11 or newer, then `make setup`."
    )


def _packages() -> Iterator[tuple[str, Callable[[], str]]]:
    needed = servers.Needed.now()
    if needed.postgres:
        yield "embedded PostgreSQL", lambda: str(postgres.binary("postgres"))
        if other_user.needed():
            yield "another user for PostgreSQL", _another_user
    if needed.valkey:
        yield "embedded Valkey", lambda: str(valkey.binary())


def _another_user() -> str:
    if other_user.namespaces_work():
        return "in a user namespace"
    if os.geteuid() == 0:
        return f"as uid {other_user.owner()}: user namespaces are forbidden here"
    raise other_user.refused("PostgreSQL")


def _folder(data: Path) -> str:
    embedded.make_folders(data)
    return str(data)


def journal(folder: Path) -> str:
    """Whether requests can be written down before they run, and how much waits there for PostgreSQL."""
    if not folder.exists():
        return f"{folder} is made by the first start"
    if (folder / REJECTED).exists():
        raise Trouble(
            f"{folder / REJECTED} holds usage records that PostgreSQL refused for ever. "
            "The gateway's log says why; move the file away when they are dealt with."
        )
    try:
        with tempfile.TemporaryFile(dir=folder):
            free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        raise Trouble(
            f"{folder} cannot be written: {error.strerror}. Without it no request is taken."
        ) from None
    if free_bytes < FREE_BYTES_AT_LEAST:
        raise Trouble(
            f"the disk of {folder} has {free_bytes >> 20} MiB left. "
            "Make room: when it is full, no request is taken."
        )
    waiting_bytes = sum(path.stat().st_size for path in folder.glob("*.jsonl"))
    return f"{folder} holds {waiting_bytes:,} bytes"


def _ports(listen: Listen) -> str:
    launch.check_ports(listen)
    return f"{listen.host} {listen.port} is free"


def _servers(stack: ExitStack, data: Path) -> str:
    ours = stack.enter_context(servers.for_a_while(data, "doctor"))
    return "started for this check" if ours else "run already, or are not needed"


def _postgres() -> str:
    version = reach.postgres()
    executor = MigrationExecutor(connection)
    if missing := executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return f"{version}; {len(missing)} migrations come with the next start"
    return f"{version}, {MIGRATED}"


def usage_months() -> str:
    """Whether this month's records and the next one's have a partition of their own."""
    made, now = retention.months(), datetime.now(UTC)
    for month in (retention.month_after(now, 0), retention.month_after(now, 1)):
        if month not in made:
            raise Trouble(
                f"{month:%Y-%m} has no partition. Records are kept in {retention.REST} meanwhile; "
                "the jobs worker makes months four times a day: see that it and beat run."
            )
    return f"partitions are made up to {made[-1]:%Y-%m}"


def _web(there: running.Running) -> Check:
    for url in {there.gateway_url, there.console_url}:
        if not launch.probe(url):
            return Check("web", FAILED, f"{url}/readyz is not 200", SEE_SERVE)
    return Check("web", OK, f"ready at {there.gateway_url}")


def _workers() -> Iterator[Check]:
    answers = {name.split("@")[0] for answer in app.control.ping(timeout=PING_S) or () for name in answer}
    for queue in (CONTROL, JOBS):
        if queue in answers:
            yield Check(f"worker {queue}", OK, "answers")
        else:
            yield Check(f"worker {queue}", FAILED, f"no answer within {PING_S:g} s", SEE_SERVE)


def _beat() -> Check:
    """Beat is judged by its work: the control step that it asks for every second."""
    with reach.client(reach.CONNECT_S) as client:
        told: Any = client.get(TICKED)
    age_s = time.time() - float(told) if told else None
    if age_s is None or age_s > TICK_IS_OLD_S:
        seen = "never" if age_s is None else f"{age_s:.0f} s ago"
        return Check("beat", FAILED, f"last control step: {seen}", SEE_SERVE)
    return Check("beat", OK, f"last control step {max(age_s, 0):.1f} s ago")
