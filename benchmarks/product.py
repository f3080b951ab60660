"""The whole product in a folder of its own: engines, `serve`, tenants and API tokens, for one run."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yaml

from config import embedded
from gateway.tokens import generate

ROOT = Path(__file__).resolve().parent.parent
START_S = 60  # a first start makes a database
STOP_S = 15
MODEL = "sim-model"
POOL = "main"


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Product:
    """A running Fairlane."""

    url: str
    folder: Path  # the run's folder; the product keeps its own data below it
    secrets: Mapping[str, str]  # tenant -> API token
    backends: Sequence[str]
    pids: Mapping[str, int]

    def manage(self, *arguments: str, **environ: str) -> str:
        """Run a management command against this product; its standard output."""
        done = self.attempt(*arguments, **environ)
        if done.returncode:
            raise RuntimeError(
                f"manage.py {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}"
            )
        return done.stdout

    def attempt(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """The same, however it ends."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=_environ(self.folder, environ),
            capture_output=True,
            text=True,
            check=False,
            timeout=START_S,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a management command against this product; the caller ends it."""
        return subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=_environ(self.folder, {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def apply(self, document: Mapping[str, Any], **environ: str) -> None:
        """`manage.py apply` of this document."""
        path = self.folder / "product.yaml"
        path.write_text(yaml.safe_dump(dict(document)), encoding="utf-8")
        self.manage("apply", "-f", str(path), **environ)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of the product's own database."""
        with psycopg.connect(
            host=str(embedded.socket_dir(self.folder / "data")),
            dbname=embedded.DATABASE_NAME,
            user=embedded.DATABASE_USER,
        ) as connection:
            return connection.execute(sql, parameters).fetchall()


@contextlib.contextmanager
def running_product(
    tenants: Sequence[Mapping[str, Any]],
    *,
    engines: int = 2,
    engine_options: Sequence[str] = (),
    max_in_flight: int = 16,
) -> Iterator[Product]:
    """Start engines and the product, apply ``tenants``, and stop everything after.

    ``tenants`` are rows of the declarative file's ``tenants`` list; each gets
    one API token. Without tenants nothing is configured. Raises RuntimeError
    with the log's end if it does not come up.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fairlane-")))
        ports = [free_port() for _ in range(engines)]
        running = [
            stack.enter_context(_process(["engine", "--port", str(port), *_model(), *engine_options], folder))
            for port in ports
        ]
        for port in ports:
            _wait_for(f"http://127.0.0.1:{port}/health", folder)
        port = free_port()
        serve = stack.enter_context(_process(["serve", "--port", str(port), "--no-demo"], folder))
        url = f"http://127.0.0.1:{port}"
        _wait_for(f"{url}/readyz", folder, serve)
        secrets = {str(row["slug"]): generate("fl_") for row in tenants}
        backends = [f"sim-{n}" for n in range(engines)]
        product = Product(
            url,
            folder,
            secrets,
            backends,
            {"serve": serve.pid} | dict(zip(backends, (p.pid for p in running), strict=True)),
        )
        if tenants:
            _fill(product, tenants, ports, max_in_flight)
        yield product


def _fill(product: Product, tenants: Sequence[Mapping[str, Any]], ports: Sequence[int], seats: int) -> None:
    document = {
        "models": [{"name": MODEL, "pool": POOL}],
        "backends": [
            {
                "name": name,
                "pool": POOL,
                "engine": "vllm",
                "url": f"http://127.0.0.1:{port}",
                "models": [MODEL],
                "max_in_flight": seats,
            }
            for name, port in zip(product.backends, ports, strict=True)
        ],
        "tenants": [dict(row) for row in tenants],
        "tokens": [
            {"tenant": tenant, "name": "run", "secret_env": _variable(tenant)} for tenant in product.secrets
        ],
    }
    product.apply(document, **{_variable(tenant): secret for tenant, secret in product.secrets.items()})
    secret = next(iter(product.secrets.values()))
    probe = urllib.request.Request(f"{product.url}/v1/models", headers={"authorization": f"Bearer {secret}"})
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(probe, timeout=5) as answer:
            if MODEL.encode() in answer.read():
                return
        time.sleep(0.1)
    raise RuntimeError(f"the gateway did not take the policy over\n{_tail(product.folder)}")


def _variable(tenant: str) -> str:
    return f"RUN_{tenant.upper().replace('-', '_')}_TOKEN"


def _model() -> list[str]:
    return ["--model", MODEL]


@contextlib.contextmanager
def _process(arguments: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "output.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=_environ(folder, {}),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environ(folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in {"DATABASE_URL", "REDIS_URL"}}
    return {**kept, "FAIRLANE_DATA_DIR": str(folder / "data"), "PYTHONUNBUFFERED": "1", **more}


def _wait_for(url: str, folder: Path, process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            break
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    raise RuntimeError(f"{url} did not answer\n{_tail(folder)}")


def _tail(folder: Path) -> str:
    return (folder / "output.log").read_text(encoding="utf-8", errors="replace")[-4000:]
