"""A pytest plugin: a PostgreSQL and a Valkey for the tests alone, from before Django reads its settings.

Loaded by ``-p tests.servers`` (pyproject.toml). The servers live in a temporary
folder, on unix sockets, and end with the tests however those end.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from config import postgres, valkey
from config.trouble import Trouble


class Servers:
    """Both servers and their folder."""

    def __init__(self) -> None:
        # /tmp and not TMPDIR: a unix socket's path must be short
        self.data = Path(tempfile.mkdtemp(prefix="fl-", dir="/tmp"))
        self._postgres: subprocess.Popen[bytes] | None = None
        self._valkey: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._postgres = postgres.start(self.data, durable=False)
        self._valkey = valkey.start(self.data, durable=False)

    def stop(self) -> None:
        if self._valkey:
            valkey.stop(self._valkey)
        if self._postgres:
            postgres.stop(self._postgres)
        shutil.rmtree(self.data, ignore_errors=True)


def _only_hands_out() -> bool:
    """This process runs no test: with pytest-xdist each worker has servers of its own."""
    wanted = any(argument.startswith(("-n", "--numprocesses")) for argument in sys.argv[1:])
    return wanted and "PYTEST_XDIST_WORKER" not in os.environ


def _start() -> None:
    if _only_hands_out():
        return
    servers = Servers()
    atexit.register(servers.stop)
    # A test must never meet somebody's real data.
    os.environ.pop("DATABASE_URL", None)
    os.environ.pop("REDIS_URL", None)
    os.environ["FAIRLANE_DATA_DIR"] = str(servers.data)
    try:
        servers.start()
    except Trouble as trouble:
        raise pytest.UsageError(f"The tests' servers did not start. {trouble}") from None


_start()
