"""The whole product in front of a vLLM that is not ours."""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest
import redis

from config import embedded
from scheduling import control_bus
from scheduling.engines.endpoint import Endpoint
from scheduling.engines.scrape import Scraper

pytestmark = [pytest.mark.real_engine, pytest.mark.product]
ROOT = Path(__file__).parents[2]
START_S = 90.0
FLOOD = 40  # requests the greedy tenant sends at once: ten times the engine's seats
FLOOD_TOKENS = 120
ASKED = 5  # requests of the quiet tenant, one after the other, while the flood lasts
RULES = """
tenants:
  - {{slug: greedy, name: Greedy, weight: 1}}
  - {{slug: quiet, name: Quiet, weight: 1}}
models:
  - {{name: tiny, pool: main}}
backends:
  - {{name: real, pool: main, engine: vllm, url: "{url}", max_in_flight: 64}}
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

    def states(self):
        client = redis.Redis.from_url(embedded.valkey_url(self.data))
        try:
            return control_bus.load_states(client)
        finally:
            client.close()


def client_of(url: str, secret: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=secret, max_retries=0, timeout=300)


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


@pytest.fixture(scope="session")
def product(engine_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    data = tmp_path_factory.mktemp("product")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {**os.environ, "FAIRLANE_DATA_DIR": str(data)}
    environment.pop("DATABASE_URL", None)
    environment.pop("REDIS_URL", None)
    with (data / "serve.log").open("wb") as log:
        serve = subprocess.Popen(
            [sys.executable, "manage.py", "serve", "--port", port, "--no-demo"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _await_ready(url, serve, data / "serve.log")
        rules = data / "rules.yaml"
        rules.write_text(RULES.format(url=engine_url))
        manage(environment, "apply", "-f", str(rules))
        secrets = [manage(environment, "token", "issue", tenant, "--quiet") for tenant in ("greedy", "quiet")]
        with client_of(url, secrets[0]) as greedy, client_of(url, secrets[1]) as quiet:
            yield Product(url, data, greedy, quiet)
    finally:
        serve.send_signal(signal.SIGTERM)
        assert serve.wait(60) == 0


def _await_ready(url: str, serve: subprocess.Popen[bytes], log: Path) -> None:
    ends_s = time.monotonic() + START_S
    while time.monotonic() < ends_s and serve.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    sys.stderr.write(log.read_text()[-4000:])
    pytest.fail(f"the product did not answer at {url}/readyz within {START_S:.0f} s")


@pytest.fixture
def read(engine_url: str):
    scraper = Scraper()
    yield lambda: scraper.read(Endpoint("real", engine_url, "vllm"), 5.0)
    scraper.close()


@pytest.fixture
def bare(engine_url: str) -> Iterator[openai.OpenAI]:
    with client_of(engine_url, "none") as client:
        yield client


def first_token_s(client: openai.OpenAI, tokens: int) -> float:
    """Seconds from the request to the first chunk with a choice; the answer is read to its end."""
    began_s, first_s = time.monotonic(), None
    with client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "each tenant takes its turn"}],
        max_tokens=tokens,
        stream=True,
        extra_body={"ignore_eos": True},
    ) as stream:
        for chunk in stream:
            if chunk.choices and first_s is None:
                first_s = time.monotonic() - began_s
    assert first_s is not None
    return first_s


def quiet_under_flood(
    greedy: openai.OpenAI, quiet: openai.OpenAI, read
) -> tuple[list[float], list[int], float]:
    """The quiet tenant's first-token times, the engine's queue meanwhile, the flood's duration."""
    began_s = time.monotonic()
    threads = [threading.Thread(target=first_token_s, args=(greedy, FLOOD_TOKENS)) for _ in range(FLOOD)]
    for thread in threads:
        thread.start()
    ends_s = time.monotonic() + 10
    while read().running < 4 and time.monotonic() < ends_s:
        time.sleep(0.05)
    queue: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            queue.append(read().waiting)

    watcher = threading.Thread(target=watch)
    watcher.start()
    times: list[float] = []
    while len(times) < ASKED and any(thread.is_alive() for thread in threads):
        times.append(first_token_s(quiet, 8))
    for thread in threads:
        thread.join()
    duration_s = time.monotonic() - began_s
    over.set()
    watcher.join()
    return times, queue, duration_s


def test_an_answer_comes_through_with_usage(product) -> None:
    answer = product.quiet.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "hello"}],
        max_tokens=8,
        extra_body={"ignore_eos": True},
    )

    assert answer.usage.completion_tokens == 8


def test_a_power_user_does_not_block_the_others(product, bare, read, capsys) -> None:
    before, their_queue, before_s = quiet_under_flood(bare, bare, read)
    after, our_queue, after_s = quiet_under_flood(product.greedy, product.quiet, read)

    with capsys.disabled():
        for name, times, queue, duration_s in (
            ("bare engine", before, their_queue, before_s),
            ("behind Fairlane", after, our_queue, after_s),
        ):
            print(
                f"\n{name}: quiet tenant's first token median of {len(times)} "
                f"{statistics.median(times):.2f} s, worst {max(times):.2f} s; "
                f"engine queue mean {statistics.mean(queue):.1f}, most {max(queue)}; "
                f"{FLOOD} requests of {FLOOD_TOKENS} tokens in {duration_s:.1f} s"
            )
    assert statistics.median(after) < statistics.median(before) / 2
    assert max(our_queue) < max(their_queue) / 2


def test_the_controller_reads_the_engine(product) -> None:
    asked_s, ends_s = time.time(), time.monotonic() + 10
    while (state := product.states().get("real")) is None or state.read_at_s < asked_s:
        assert time.monotonic() < ends_s
        time.sleep(0.1)

    assert state.error == ""
    assert state.running == 0
    assert state.kv_usage is not None


def test_a_client_that_leaves_frees_the_engine(product, read) -> None:
    stream = product.quiet.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "hello"}],
        max_tokens=1500,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    next(iter(stream))
    assert read().running == 1

    stream.close()

    ends_s = time.monotonic() + 5
    while (running := read().running) and time.monotonic() < ends_s:
        time.sleep(0.05)
    assert running == 0
