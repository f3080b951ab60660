"""The whole product in a folder of its own, and the processes it consists of."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psycopg

from config import embedded

ROOT = Path(__file__).resolve().parent.parent.parent
START_S = 90.0
STOP_S = 30.0
TENANT = "demo"  # config.demo.TENANT, which needs Django
KINDS = {
    "config.web": "web",
    "--queues control": "control",
    "--queues jobs": "jobs",
    "config.celery beat": "beat",
    "bin/postgres": "postgres",
    "valkey-server": "valkey",
    "config.cli engine": "engine",
}


class Product:
    """`manage.py serve`, which may be killed and started again."""

    def __init__(self, data: Path) -> None:
        self.data = data
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = (data / "serve.log").open("ab")
        self._serve: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again after it was killed."""
        self._launch()
        self.wait_until_ready()

    def wait_until_ready(self, within_s: float = START_S) -> None:
        """Raises TimeoutError when the gateway does not come up.

        A `serve` that gave up is started again, as systemd would: while what
        a killed one left behind drains, the port is taken. In its first
        moments that still says it is ready, so it must be the new one's.
        """
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            if self._serve.poll() is not None:
                self._launch()
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                    if answer.status == 200 and "web" in self.processes():
                        return
            except OSError:
                pass
            time.sleep(0.2)
        raise TimeoutError(f"the product did not come up; see {self._log.name}")

    def token(self) -> str:
        """A new API token of the demo tenant."""
        command = [sys.executable, "manage.py", "token", "issue", TENANT, "--name", "soak", "--quiet"]
        made = subprocess.run(
            command, cwd=ROOT, env=self._environment(), capture_output=True, text=True, check=True
        )
        return made.stdout.strip()

    def stop(self) -> None:
        """End it in order."""
        if self._serve is not None and self._serve.poll() is None:
            self._serve.send_signal(signal.SIGTERM)
            self._serve.wait(STOP_S)
        self._log.close()

    def processes(self) -> dict[str, list[int]]:
        """What it consists of now, by kind; ``jobs child`` and ``postgres child`` are what those forked."""
        parents, lines = _table()
        found: dict[str, list[int]] = {"serve": [self._serve.pid]}
        for pid, parent in parents.items():
            if parent == self._serve.pid:
                kind = next((kind for mark, kind in KINDS.items() if mark in lines[pid]), "")
                found.setdefault(kind, []).append(pid)
        for kind in ("jobs", "postgres"):
            children = [pid for pid, parent in parents.items() if parent in found.get(kind, ())]
            found[f"{kind} child"] = children
        return {kind: pids for kind, pids in found.items() if kind and pids}

    def kill(self, kind: str, pid: int) -> None:
        """SIGKILL: no goodbye to anybody."""
        os.kill(pid, signal.SIGKILL)
        if kind == "serve":
            self._serve.wait()
            self.wait_until_ready()

    def freeze_postgres(self, *, frozen: bool) -> None:
        """Stop the database in its tracks, or let it go on: it hangs, which is worse than refusing."""
        (pid,) = self.processes()["postgres"]
        os.killpg(pid, signal.SIGSTOP if frozen else signal.SIGCONT)

    def read(self, query: str) -> list[tuple]:
        """The rows of a query."""
        where = {"host": str(embedded.socket_dir(self.data)), "user": embedded.DATABASE_USER}
        with psycopg.connect(dbname=embedded.DATABASE_NAME, **where) as database:
            return database.execute(query).fetchall()

    def _launch(self) -> None:
        command = [sys.executable, "manage.py", "serve", "--demo", "--port", str(self.port)]
        self._serve = subprocess.Popen(
            command, cwd=ROOT, env=self._environment(), stdout=self._log, stderr=self._log
        )

    def _environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("FAIRLANE_")}
        return {**ours, "FAIRLANE_DATA_DIR": str(self.data)}


def _table() -> tuple[dict[int, int], dict[int, str]]:
    """Parent and command line of every process (Linux)."""
    parents, lines = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            lines[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue  # it has just ended
        if status[0] != "Z":
            parents[int(folder.name)] = int(status[1])
    return parents, lines
