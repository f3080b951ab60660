"""The product's gateway in a process of its own, with a database of its own on the tests' PostgreSQL.

with running_gateway_process(document, {"CHAT_TOKEN": secret}, FAIRLANE_HOLD_STATUS_S="0.1") as gateway:
    gateway.url; gateway.query("SELECT outcome FROM gateway_usagerecord")
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import django
import psycopg
import yaml
from django.conf import settings
from django.core.management import call_command

from benchmarks.product import free_port
from config import web

ROOT = Path(__file__).resolve().parent.parent.parent
START_S = 120.0  # its database is made first
STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """A gateway that serves."""

    url: str
    database: str

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of its database."""
        with _connection(self.database) as connection:
            return connection.execute(sql, parameters).fetchall()


@contextmanager
def running_gateway_process(
    document: Mapping[str, Any], secrets: Mapping[str, str], **knobs: str
) -> Iterator[GatewayProcess]:
    """The gateway under the rules of a declarative document. ``secrets`` are the variables that it names."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="fl-", dir="/tmp") as folder, _database() as database:
        rules = Path(folder) / "rules.yaml"
        rules.write_text(yaml.safe_dump(dict(document)), encoding="utf-8")
        log = Path(folder) / "output.log"
        environ = {
            **os.environ,
            "DATABASE_URL": _url_of(database),
            "REDIS_URL": _another_database(settings.REDIS_URL),
            "FAIRLANE_DATA_DIR": folder,
            "FAIRLANE_ROLE": "gateway",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            **secrets,
            **knobs,
        }
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(port), str(rules)],
                cwd=ROOT,
                env=environ,
                stdout=out,
                stderr=out,
            )
        try:
            _wait_for(f"{url}/readyz", process, log)
            yield GatewayProcess(url, database)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _database() -> Iterator[str]:
    name = f"own_{os.getpid()}"
    with _connection("postgres") as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield name
    finally:
        with _connection("postgres") as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _connection(database: str) -> psycopg.Connection[tuple[Any, ...]]:
    place = settings.DATABASES["default"]
    return psycopg.connect(host=place["HOST"], user=place["USER"], dbname=database, autocommit=True)


def _another_database(url: str) -> str:
    """So that the console's tests, which run while this gateway lives, do not see its queue."""
    return f"{url}{'&' if '?' in url else '?'}db=1"


def _url_of(database: str) -> str:
    place = settings.DATABASES["default"]
    return f"postgres://{place['USER']}@{quote(place['HOST'], safe='')}/{database}"


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and process.poll() is None:
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.05)
    raise RuntimeError(f"the gateway did not start\n{log.read_text(errors='replace')[-4000:]}")


def _serve(port: str, rules: str) -> None:
    """Make the database, write the rules, and be the product's own web process."""
    django.setup()
    call_command("migrate", verbosity=0)
    call_command("apply", file=rules)
    sys.argv = ["web", "--host", "127.0.0.1", "--port", port]
    web.main()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
