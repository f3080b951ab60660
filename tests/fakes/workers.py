"""Celery processes on the tests' own database and Valkey, started and ended as `serve` does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from django.db import connection

from config.celery import CONTROL, JOBS

ROOT = Path(__file__).parents[2]
QUIET = ("--without-gossip", "--without-mingle")
CONTROL_WORKER = ("worker", "-P", "threads", "-c", "4", "-Q", CONTROL, *QUIET)
JOBS_WORKER = ("worker", "-P", "prefork", "-c", "2", "-Q", JOBS, *QUIET)
END_S = 20.0
NO_KNOBS: Mapping[str, str] = MappingProxyType({})


def beat(folder: Path) -> tuple[str, ...]:
    """The beat's command line; what it remembers stays in this folder."""
    return ("beat", "-s", str(folder / "schedule"), "--pidfile=")


@contextmanager
def celery(
    folder: Path, *lines: tuple[str, ...], every_s: float = 0.2, knobs: Mapping[str, str] = NO_KNOBS
) -> Iterator[list[Path]]:
    """One process for each command line; gives their logs. All have ended well after the block."""
    logs = [folder / f"celery-{n}.log" for n in range(len(lines))]
    knobs = {"FAIRLANE_POLL_EVERY_S": str(every_s), **knobs}
    processes = [started(line, log, knobs) for line, log in zip(lines, logs, strict=True)]
    try:
        yield logs
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(END_S) for process in processes]
    assert codes == [0] * len(codes), "\n".join(log.read_text() for log in logs)


def started(line: tuple[str, ...], log: Path, knobs: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """One process, which the caller ends."""
    database = connection.settings_dict
    url = f"postgres://{database['USER']}@{quote(str(database['HOST']), safe='')}/{database['NAME']}"
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "config.celery", *line],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": url, **knobs},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
