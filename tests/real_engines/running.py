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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
import redis
import yaml

from config import admins, embedded
from scheduling import control_bus
from scheduling.core.control import BackendState
from scheduling.engines.endpoint import Endpoint

SCOPES = ("queues:read", "usage:read", "tenants:write")
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
    """A running installation: its base URL, its data folder, one API token and client per tenant."""

    url: str
    data: Path
    secrets: dict[str, str]
    clients: dict[str, openai.OpenAI]
    admin_token: str
    environment: dict[str, str] = field(repr=False)

    @property
    def greedy(self) -> openai.OpenAI:
        """The client of the tenant who floods."""
        return self.clients["greedy"]

    @property
    def quiet(self) -> openai.OpenAI:
        """The client of the tenant who asks now and then."""
        return self.clients["quiet"]

    def apply(self, rules: str) -> None:
        """Put declarative rules in force; what they do not name stays."""
        file = self.data / "rules.yaml"
        file.write_text(rules)
        manage(self.environment, "apply", "-f", str(file))

    def state(self, backend: str) -> BackendState | None:
        """What the controller knows of the backend: the same that the console shows."""
        client = redis.Redis.from_url(embedded.valkey_url(self.data))
        try:
            return control_bus.load_states(client).get(backend)
        finally:
            client.close()

    def ask(self, path: str, change: dict[str, Any] | None = None) -> Any:
        """The control API's answer, also to a change (PATCH)."""
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}",
            data=None if change is None else json.dumps(change).encode(),
            headers={"Authorization": f"Bearer {self.admin_token}", "Content-Type": "application/json"},
            method="GET" if change is None else "PATCH",
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
        return pool["in_flight"] if (pool := self.pool()) else None

    def pool(self) -> dict[str, Any] | None:
        """The one pool as the console shows it; None while no gateway has shown it yet."""
        pools = self.ask("queues")["pools"]
        return pools[0] if pools else None


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


class OwnEngine:
    """An engine's process, and those it starts itself: a session of their own, which ends as one."""

    def __init__(self, command: list[str | Path], url: str, folder: Path, patience_s: float) -> None:
        self.url = url
        self._command = command
        self._folder = folder
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Come back with the first healthy answer."""
        log = self._folder / "engine.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        await_answer(f"{self.url}/health", self._process, log, self._patience_s)

    def kill(self) -> None:
        """End all of it at once, as a lost machine does."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(60)

    def stop(self) -> None:
        """Let it end by itself."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)


@contextmanager
def running_engine(
    command: list[str | Path], url: str, folder: Path, patience_s: float
) -> Iterator[OwnEngine]:
    """An engine's process from its first healthy answer until the block is left."""
    engine = OwnEngine(command, url, folder, patience_s)
    try:
        engine.start()
        yield engine
    finally:
        engine.stop()


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
def running_product(engine: Endpoint, data: Path, rules: str = "") -> Iterator[Product]:
    """`manage.py serve` in front of one engine, with an API token for each tenant of the rules."""
    rules = rules or RULES.format(engine=engine)
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
        scopes = [part for scope in SCOPES for part in ("--scope", scope)]
        admin = manage(environment, "token", "issue", "--admin", admins.FIRST, *scopes, "--quiet")
        product = Product(url, data, {}, {}, admin, environment)
        product.apply(rules)
        with ExitStack() as clients:
            for tenant in yaml.safe_load(rules)["tenants"]:
                slug = tenant["slug"]
                issue = ("token", "issue", slug, "--class", "standard", "--quiet")
                product.secrets[slug] = manage(environment, *issue)
                product.clients[slug] = clients.enter_context(client_of(url, product.secrets[slug]))
            yield product
    finally:
        serve.send_signal(signal.SIGTERM)
        assert serve.wait(60) == 0
