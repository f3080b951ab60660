"""Fairlane as `serve` runs it: one web process with everything on, beside its own PostgreSQL and Valkey."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.gateways.base import Gateway, Place
from benchmarks.load.run import Target
from benchmarks.product import ROOT
from config import postgres, valkey

NARROW = "bench-narrow"  # as in fill.py, which cannot be imported before Django is set up
NEVER_S = "86400"
FEW, MANY = 16, 10_000  # tenants


class Fairlane(Gateway):
    """API tokens, quotas, fair dispatch, usage records in PostgreSQL, metrics and queue headers: all on."""

    def __init__(self, name: str = "fairlane", tenants: int = FEW, *, stores_records: bool = True) -> None:
        self.name = name
        self._tenants = tenants
        self._knobs = {} if stores_records else {"FAIRLANE_RECORD_EVERY_S": NEVER_S}
        self._secrets: list[str] = []
        self._data = Path()
        self._servers: list[subprocess.Popen[bytes]] = []

    def version(self) -> str:
        said = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            check=False,
        )
        return said.stdout.strip() or "no commit"

    def command(self, place: Place) -> Sequence[str]:
        # /tmp and not the run's folder: the path of a unix socket must be short
        self._data = Path(tempfile.mkdtemp(prefix="flb-", dir="/tmp"))
        self._servers = [postgres.start(self._data), valkey.start(self._data)]
        environ = {**os.environ, **self.environ(place)}
        asked = ["--tenants", str(self._tenants), "--engine-port", str(place.engine_port)]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.gateways.fill", *asked],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        self._secrets = json.loads(done.stdout)
        return [sys.executable, "-m", "config.web", "--host", "127.0.0.1", "--port", str(place.port)]

    def environ(self, place: Place) -> Mapping[str, str]:
        return {
            "FAIRLANE_DATA_DIR": str(self._data),
            "DATABASE_URL": "",
            "REDIS_URL": "",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PYTHONPATH": str(ROOT),
            **self._knobs,
        }

    def targets(self, place: Place, pid: int) -> list[Target]:
        headers = [{"authorization": f"Bearer {secret}"} for secret in self._secrets]
        own = Target(self.name, place.port, pid, headers)
        return [own, replace(own, name=f"{self.name}-narrow", model=NARROW)]

    def close(self) -> None:
        database, bus = self._servers
        valkey.stop(bus)
        postgres.stop(database)
        shutil.rmtree(self._data, ignore_errors=True)
