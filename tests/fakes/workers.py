"""Celery processes on the tests' own database and Valkey, started and ended as `serve` does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from django.db import connection

from config.celery import CONTROL, JOBS

ROOT = Path(__file__).parents[2]
QUIET = ("--without-gossip", "--without-mingle")
CONTROL_WORKER = ("worker", "-P", "threads", "-c", "4", "-Q", CONTROL, *QUIET)
JOBS_WORKER = ("worker", "-P", "prefork", "-c", "2", "-Q", JOBS, *QUIET)
END_S = 20.0


def beat(folder: Path) -> tuple[str, ...]:
    """The beat's command line; what it remembers stays in this folder."""
    return ("beat", "-s", str(folder / "schedule"), "--pidfile=")


@contextmanager
def celery(folder: Path, *lines: tuple[str, ...], every_s: float = 0.2) -> Iterator[list[Path]]:
    """One process for each command line; gives their logs. All have ended well after the block."""
    logs = [folder / f"celery-{n}.log" for n in range(len(lines))]
    processes = [_started(line, log, every_s) for line, log in zip(lines, logs, strict=True)]
    try:
        yield logs
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(END_S) for process in processes]
    assert codes == [0] * len(codes), "\n".join(log.read_text() for log in logs)


def _started(line: tuple[str, ...], log: Path, every_s: float) -> subprocess.Popen[bytes]:
    database = connection.settings_dict
    url = f"postgres://{database['USER']}@{quote(str(database['HOST']), safe='')}/{database['NAME']}"
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "config.celery", *line],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": url, "FAIRLANE_POLL_EVERY_S": str(every_s)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
