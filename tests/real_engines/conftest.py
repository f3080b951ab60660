"""A real engine, and the product in front of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest

from scheduling.core.limits import EngineLoad
from scheduling.engines.endpoint import Endpoint
from scheduling.engines.scrape import Scraper
from tests.real_engines.running import (
    OwnEngine,
    Product,
    client_of,
    free_port,
    running_engine,
    running_product,
)

HERE = Path(__file__).parent
START_S = 300.0  # 35 to 100 s were seen; a busy machine takes longer
LLAMA_START_S = 60.0  # the tiny model is up within a second; a busy machine takes longer
HOW_LLAMA = (
    "no llama.cpp server: set FAIRLANE_LLAMA_SERVER to the path of a llama-server binary and "
    "FAIRLANE_LLAMA_MODEL to a GGUF file (tests/real_engines/README.md)"
)
HOW = (
    "no real engine: set FAIRLANE_REAL_ENGINE_URL to a running vLLM that serves the model `tiny`, "
    "or FAIRLANE_VLLM_PYTHON to the Python of an environment that has vLLM (tests/real_engines/README.md)"
)


@pytest.fixture(scope="session")
def own_vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnEngine]:
    """A vLLM with four seats and priority scheduling, started here."""
    python = os.environ.get("FAIRLANE_VLLM_PYTHON")
    if not python:
        pytest.skip(HOW)
    folder = tmp_path_factory.mktemp("vllm")
    subprocess.run(
        [python, HERE / "make_tiny_model.py", folder / "tiny", "--hidden", "512", "--layers", "8"], check=True
    )
    port = free_port()
    command = ["/bin/sh", HERE / "run_vllm.sh", "tiny", str(port)]
    with running_engine(command, f"http://127.0.0.1:{port}", folder, START_S) as engine:
        yield engine


@pytest.fixture(scope="session")
def own_llamacpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnEngine]:
    """A llama-server with four seats and its metrics switched on, started here."""
    server, model = os.environ.get("FAIRLANE_LLAMA_SERVER"), os.environ.get("FAIRLANE_LLAMA_MODEL")
    if not (server and model):
        pytest.skip(HOW_LLAMA)
    port = free_port()
    command = ["/bin/sh", HERE / "run_llama.sh", Path(model).resolve(), str(port)]
    folder = tmp_path_factory.mktemp("llama")
    with running_engine(command, f"http://127.0.0.1:{port}", folder, LLAMA_START_S) as engine:
        yield engine


@pytest.fixture(scope="session")
def engine_url(request: pytest.FixtureRequest) -> str:
    """The URL of a vLLM with four seats and priority scheduling: one that runs, or one started here."""
    if url := os.environ.get("FAIRLANE_REAL_ENGINE_URL"):
        return url.rstrip("/")
    return str(request.getfixturevalue("own_vllm").url)


@pytest.fixture(scope="module")
def engine(engine_url: str) -> Endpoint:
    """The engine under test; a module about another engine has a fixture of this name itself."""
    return Endpoint("real", engine_url, "vllm")


@pytest.fixture(scope="module")
def product(engine: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with running_product(engine, tmp_path_factory.mktemp("product")) as product:
        yield product


@pytest.fixture
def read(engine: Endpoint) -> Iterator[Callable[[], EngineLoad]]:
    scraper = Scraper()
    yield lambda: scraper.read(engine, 5.0)
    scraper.close()


@pytest.fixture
def bare(engine: Endpoint) -> Iterator[openai.OpenAI]:
    with client_of(engine.url, "none") as client:
        yield client
