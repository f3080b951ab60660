"""A real engine: one that runs already, or a vLLM started for these tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
START_S = 300.0  # 35 to 100 s were seen; a busy machine takes longer
HOW = (
    "no real engine: set FAIRLANE_REAL_ENGINE_URL to a running vLLM that serves the model `tiny`, "
    "or FAIRLANE_VLLM_PYTHON to the Python of an environment that has vLLM (tests/real_engines/README.md)"
)


@pytest.fixture(scope="session")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a vLLM with four seats and priority scheduling."""
    if url := os.environ.get("FAIRLANE_REAL_ENGINE_URL"):
        yield url.rstrip("/")
        return
    python = os.environ.get("FAIRLANE_VLLM_PYTHON")
    if not python:
        pytest.skip(HOW)
    folder = tmp_path_factory.mktemp("vllm")
    subprocess.run(
        [python, HERE / "make_tiny_model.py", folder / "tiny", "--hidden", "512", "--layers", "8"], check=True
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "engine.log").open("wb") as log:
        engine = subprocess.Popen(
            ["/bin/sh", HERE / "run_vllm.sh", "tiny", str(port)],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _ready(f"http://127.0.0.1:{port}", engine, folder / "engine.log")
    finally:
        engine.terminate()
        engine.wait(60)


def _ready(url: str, engine: subprocess.Popen[bytes], log: Path) -> str:
    ends_s = time.monotonic() + START_S
    while time.monotonic() < ends_s and engine.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return url
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    sys.stderr.write(log.read_text()[-4000:])
    pytest.fail(f"vLLM did not answer at {url}/health within {START_S:.0f} s")
