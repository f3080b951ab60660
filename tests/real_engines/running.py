"""The processes that these tests start: an engine that is not ours, and the whole product in front of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
import redis

from config import admins, embedded
from scheduling import control_bus
from scheduling.core.control import BackendState
from scheduling.engines.endpoint import Endpoint

ROOT = Path(__file__).parents[2]
PRODUCT_START_S = 90.0
STORED_S = 10.0  # usage records are written in batches; a busy machine is slow
RULES = """
tenants:
  - {{slug: greedy, name: Greedy, weight: 1}}
  - {{slug: quiet, name: Quiet, weight: 1}}
models:
  - {{name: tiny, pool: main}}
backends:
  - {{name: {engine.backend}, pool: main, engine: {engine.engine}, url: "{engine.url}", max_in_flight: 64}}
policies:
  - {{pool: main, fairness: token_fair, engine_queue_target: 3}}
"""


@dataclass(frozen=True, slots=True)
class Product:
    """A running installation: its base URL, its data folder, one client per tenant."""

    url: str
    data: Path
    greedy: openai.OpenAI
    quiet: openai.OpenAI
    admin_token: str

    def state(self, backend: str) -> BackendState | None:
        """What the controller knows of the backend: the same that the console shows."""
        client = redis.Redis.from_url(embedded.valkey_url(self.data))
        try:
            return control_bus.load_states(client).get(backend)
        finally:
            client.close()

    def ask(self, path: str) -> Any:
        """The control API's answer."""
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}", headers={"Authorization": f"Bearer {self.admin_token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def last_record(self, tenant: str, since: str) -> dict[str, Any]:
        """The tenant's usage record since then (ISO 8601, with the zone), once it is stored."""
        ends_s = time.monotonic() + STORED_S
        while not (items := self.ask(f"usage/records?tenant={tenant}&since={since}")["items"]):
            assert time.monotonic() < ends_s, f"no usage record within {STORED_S:.0f} s"
            time.sleep(0.1)
        return items[0]

    def in_flight(self) -> int | None:
        """Seats taken now, over all backends; None while no gateway has shown its queue yet."""
        picture = self.ask("queues")
        return sum(pool["in_flight"] for pool in picture["pools"]) if picture["gateways"] else None


def client_of(url: str, secret: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=secret, max_retries=0, timeout=300)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def await_answer(url: str, process: subprocess.Popen[bytes], log: Path, patience_s: float) -> None:
    """Wait until the URL answers 200; fail with the end of the log when the process does not come up."""
    ends_s = time.monotonic() + patience_s
    while time.monotonic() < ends_s and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    sys.stderr.write(log.read_text()[-4000:])
    pytest.fail(f"no answer at {url} within {patience_s:.0f} s")


@contextmanager
def running_engine(command: list[str | Path], url: str, folder: Path, patience_s: float) -> Iterator[str]:
    """An engine's process from its first healthy answer until the block is left."""
    log = folder / "engine.log"
    with log.open("wb") as output:
        engine = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        await_answer(f"{url}/health", engine, log, patience_s)
        yield url
    finally:
        engine.terminate()
        engine.wait(60)


def manage(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def running_product(engine: Endpoint, data: Path) -> Iterator[Product]:
    """`manage.py serve` in front of one engine, with a greedy and a quiet tenant."""
    port = free_port()
    environment = {**os.environ, "FAIRLANE_DATA_DIR": str(data)}
    environment.pop("DATABASE_URL", None)
    environment.pop("REDIS_URL", None)
    with (data / "serve.log").open("wb") as log:
        serve = subprocess.Popen(
            [sys.executable, "manage.py", "serve", "--port", str(port), "--no-demo"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        await_answer(f"{url}/readyz", serve, data / "serve.log", PRODUCT_START_S)
        rules = data / "rules.yaml"
        rules.write_text(RULES.format(engine=engine))
        manage(environment, "apply", "-f", str(rules))
        secrets = [manage(environment, "token", "issue", tenant, "--quiet") for tenant in ("greedy", "quiet")]
        scopes = ["--scope", "queues:read", "--scope", "usage:read"]
        admin = manage(environment, "token", "issue", "--admin", admins.FIRST, *scopes, "--quiet")
        with client_of(url, secrets[0]) as greedy, client_of(url, secrets[1]) as quiet:
            yield Product(url, data, greedy, quiet, admin)
    finally:
        serve.send_signal(signal.SIGTERM)
        assert serve.wait(60) == 0
