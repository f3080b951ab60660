"""Our order inside a real vLLM: what its own priority scheduling can do for us, and what it cannot.

Each mode of a pool's ``engine_priority`` is played with the same requests:

- isolation: a tenant floods, each of its requests with a priority of its own
  that would beat all others if it ever reached the engine; a light tenant then
  asks a few times;
- re-weighting: two tenants have work in line and the weight of one goes from
  1 to 9; its share of what starts from then on;
- cancelling: clients whose requests wait hang up.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import openai
import pytest
import urllib3

from scheduling.engines.endpoint import Endpoint
from tests.real_engines import crowd
from tests.real_engines.crowd import PROMPTS, Ask, Heard, Watch
from tests.real_engines.running import Product, running_product
from tests.real_engines.test_crowd import SEATS, TARGET, wait_until

pytestmark = [pytest.mark.real_engine, pytest.mark.product]
FLOOD = 200
EACH = 60  # requests of each tenant while a weight changes
LIGHT_ASKS = 5
GREED = -(2**62)  # the flood's own idea of its priority: lower than any that Fairlane sends
WEIGHT = 9
RULES = """
tenants:
  - {{slug: heavy, name: Heavy, weight: 1}}
  - {{slug: light, name: Light, weight: 1}}
models:
  - {{name: tiny, pool: main}}
backends:
  - {{name: real, pool: main, engine: vllm, url: "{url}", max_in_flight: 64}}
policies:
  - {{pool: main, fairness: token_fair, engine_queue_target: 3, engine_priority: "{mode}"}}
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One mode's figures."""

    mode: str
    engine_queue: list[int]  # what waited in the engine while the tenant flooded and all seats were taken
    light_s: list[float]  # the light tenant's first-token times
    flood_s: float
    share: float  # of the first tokens after the weight went to 9 of 10
    left_s: float  # until the engine held none of 16 requests whose clients had left
    answers: list[Heard]

    @property
    def queue_p99(self) -> int:
        """What the engine's queue was not above in 99 of 100 readings."""
        return int(crowd.percentile(self.engine_queue, 0.99))

    def __str__(self) -> str:
        light = f"{statistics.median(self.light_s):.1f} s / {max(self.light_s):.1f} s"
        return (
            f"| `{self.mode}` | {self.queue_p99} / {max(self.engine_queue)} | {light} "
            f"| {self.flood_s:.0f} s | {self.share:.0%} | {self.left_s:.1f} s |"
        )


@pytest.fixture(scope="module")
def product(engine: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    rules = RULES.format(url=engine.url, mode="off")
    with running_product(engine, tmp_path_factory.mktemp("product"), rules) as product:
        yield product


def set_mode(product: Product, engine: Endpoint, mode: str) -> None:
    """Put it in force with equal weights, and give every process the second it may take to hear of it."""
    product.apply(RULES.format(url=engine.url, mode=mode))
    time.sleep(1.5)


def in_line(product: Product, read) -> int:
    pool = product.pool()
    return (pool["queued"] if pool else 0) + read().waiting


def isolation(product: Product, read) -> tuple[list[int], list[float], float, list[Heard]]:
    asks = [Ask("heavy", PROMPTS[place % 5], stream=True, priority=GREED) for place in range(FLOOD)]
    answers: list[Heard] = []
    flood = threading.Thread(target=lambda: answers.extend(crowd.ask_all(product.url, product.secrets, asks)))
    with Watch(read) as watch, urllib3.PoolManager(timeout=600) as pool:
        flood.start()
        wait_until(lambda: in_line(product, read) > FLOOD - 40, 30)
        light = [
            crowd.ask_one(pool, product.url, product.secrets["light"], Ask("light", PROMPTS[0], True, 8))
            for _ in range(LIGHT_ASKS)
        ]
        flood.join()
    took_s = max(one.ended_s for one in answers) - min(one.asked_s for one in answers)
    times = [one.first_s - one.asked_s for one in light]
    return [load.waiting for load in watch.full(SEATS)], times, took_s, answers + light


def reweighted(product: Product, read) -> tuple[float, list[Heard]]:
    asks = [Ask(tenant, PROMPTS[n % 5], stream=True) for n in range(EACH) for tenant in ("heavy", "light")]
    answers: list[Heard] = []
    both = threading.Thread(target=lambda: answers.extend(crowd.ask_all(product.url, product.secrets, asks)))
    both.start()
    wait_until(lambda: in_line(product, read) > EACH, 30)
    product.ask("tenants/light", {"weight": WEIGHT})
    time.sleep(1.5)
    from_s = time.monotonic()
    both.join()
    dry_s = max(one.first_s for one in answers if one.ask.tenant == "light")
    started = [one.ask.tenant for one in answers if from_s < one.first_s <= dry_s]
    assert len(started) > EACH / 3, f"only {len(started)} were left in line when the weight changed"
    return started.count("light") / len(started), answers


def leaving(product: Product, read) -> float:
    """Four run and twelve wait; all their clients leave: seconds until the engine holds none of them."""
    clients = [product.clients["light"].with_options(timeout=3.0) for _ in range(SEATS + 12)]
    with ThreadPoolExecutor(len(clients)) as threads:
        list(threads.map(give_up, clients))
    left_s = time.monotonic()
    wait_until(lambda: not read().waiting and not read().running, 20)
    return time.monotonic() - left_s


def give_up(client: openai.OpenAI) -> None:
    """Ask for more than can be written in time. Fairlane may be told of the patience, and end it first."""
    with pytest.raises((openai.APITimeoutError, openai.InternalServerError)):
        client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": PROMPTS[0]}],
            max_tokens=1900,
            extra_body={"ignore_eos": True},
        )


@pytest.mark.parametrize("mode", ["off", "with_window", "alone"])
def test_what_the_engines_own_priority_does_for_us(engine, product, read, capsys, mode) -> None:
    set_mode(product, engine, mode)
    queue, light_s, flood_s, flooded = isolation(product, read)
    share, shared = reweighted(product, read)
    row = Row(mode, queue, light_s, flood_s, share, leaving(product, read), flooded + shared)

    with capsys.disabled():
        print(f"\n{row}")
    assert crowd.wrong(row.answers) == []
    # Whoever orders the requests, the light tenant does not wait for the flood.
    assert max(row.light_s) < row.flood_s / 4
    if mode == "alone":
        assert max(row.engine_queue) > FLOOD - 40
        assert row.share < 0.7  # what is inside the engine keeps the order that it came with
    else:
        assert row.queue_p99 <= TARGET + 2
        assert row.share > 0.7
