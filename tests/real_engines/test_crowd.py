"""Two hundred requests of three tenants wait in Fairlane, in front of an engine that is not ours."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from scheduling.engines import exposition
from scheduling.engines.endpoint import Endpoint
from tests.real_engines import crowd
from tests.real_engines.crowd import PROMPTS, WEIGHTS, Ask, Heard, Watch
from tests.real_engines.running import Product, running_product

pytestmark = [pytest.mark.real_engine, pytest.mark.product]
SEATS = 4
TARGET = 3
CAP = 16
LEAST_DOWN_S = 20.0  # long enough for several tries of a request to fail
RULES = """
tenants:
  - {{slug: small, name: Small, weight: {weights[small]}}}
  - {{slug: middle, name: Middle, weight: {weights[middle]}}}
  - {{slug: large, name: Large, weight: {weights[large]}}}
models:
  - {{name: tiny, pool: main}}
backends:
  - {{name: real, pool: main, engine: {engine.engine}, url: "{engine.url}", max_in_flight: {cap}}}
policies:
  - {{pool: main, fairness: token_fair, engine_queue_target: {target}}}
"""


@pytest.fixture(scope="module", params=["vllm", "llamacpp"])
def engine(request: pytest.FixtureRequest) -> Endpoint:
    """Each of the engines that are here."""
    if request.param == "vllm":
        return Endpoint("real", request.getfixturevalue("engine_url"), "vllm")
    return Endpoint("real", request.getfixturevalue("own_llamacpp").url, "llamacpp")


@pytest.fixture(scope="module")
def product(engine: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    rules = RULES.format(engine=engine, weights=WEIGHTS, cap=CAP, target=TARGET)
    with running_product(engine, tmp_path_factory.mktemp("product"), rules) as product:
        yield product


@pytest.fixture(scope="module")
def alone(engine: Endpoint) -> dict[str, str]:
    """What the bare engine writes for each prompt while it has nothing else to do."""
    asked = [crowd.ask_all(engine.url, {}, [Ask("", prompt, stream=True)])[0] for prompt in PROMPTS]
    return {one.ask.prompt: one.text for one in asked}


def test_the_engines_queue_stays_at_its_target_under_200_requests(
    engine, product, read, alone, capsys
) -> None:
    with Watch(read, product.pool) as watch:
        answers = crowd.ask_all(product.url, product.secrets, crowd.crowd())

    waiting = [load.waiting for load in watch.full(SEATS)]
    with capsys.disabled():
        print(f"\n{crowd.line(f'{engine.engine}, behind', answers, watch, SEATS)}")
        print(f"other text than alone: {crowd.other_text(answers, alone)} of {len(answers)}")
    assert crowd.wrong(answers) == []
    assert crowd.percentile(waiting, 0.99) <= TARGET + 2
    assert sum(waiting) / len(waiting) > 1  # never empty for long: the engine is not starved either
    assert {one["queued"] > 100 for one in watch.pools} == {True, False}
    for shown in (backend for pool in watch.pools for backend in pool["backends"]):
        assert shown["in_flight"] <= shown["cap"]
    for tenant, share in crowd.shares(answers).items():
        assert share == pytest.approx(WEIGHTS[tenant] / sum(WEIGHTS.values()), abs=0.05)


def test_the_bare_engine_takes_all_200_into_its_own_queue(engine, read, capsys) -> None:
    """The same crowd without Fairlane: what the test above would look like if nothing held it back."""
    with Watch(read) as watch:
        answers = crowd.ask_all(engine.url, {}, crowd.crowd())

    with capsys.disabled():
        print(f"\n{crowd.line(f'{engine.engine}, bare', answers, watch, SEATS)}")
    assert crowd.wrong(answers) == []
    assert max(load.waiting for load in watch.full(SEATS)) > 100


# What each engine counts of the prompts that it was given; llama.cpp leaves out what it had in its cache.
PROMPT_SERIES = {
    "vllm": ("vllm:prompt_tokens_total",),
    "llamacpp": ("llamacpp:prompt_tokens_total", "llamacpp:prompt_tokens_cached_total"),
}


def prompt_tokens(engine: Endpoint) -> int:
    """Prompt tokens of all requests that ever reached the engine."""
    with urllib.request.urlopen(f"{engine.url}/metrics", timeout=10) as answer:
        samples = exposition.parse(answer.read().decode(), frozenset(PROMPT_SERIES[engine.engine]))
    return round(sum(exposition.total(samples, name) or 0 for name in PROMPT_SERIES[engine.engine]))


def wait_until(right: Callable[[], Any], patience_s: float) -> None:
    ends_s = time.monotonic() + patience_s
    while not right():
        assert time.monotonic() < ends_s, "it did not come about in time"
        time.sleep(0.1)


def test_a_request_that_leaves_the_line_never_reaches_the_engine(engine, product) -> None:
    before = prompt_tokens(engine)
    answers: list[Heard] = []
    # Long answers: on a quick machine no seat must be given up while the others stand in line.
    held = [Ask("large", PROMPTS[0], stream=True, tokens=1500) for _ in range(2 * SEATS + TARGET)]
    product.pool()  # gateways show themselves only while somebody looks
    flood = threading.Thread(target=lambda: answers.extend(crowd.ask_all(product.url, product.secrets, held)))
    flood.start()
    wait_until(lambda: (pool := product.pool()) and pool["queued"] > 0, 30)

    leavers = [threading.Thread(target=leave, args=(product.clients["small"],)) for _ in range(20)]
    for leaver in leavers:
        leaver.start()
    for leaver in leavers:
        leaver.join()
    flood.join()

    assert crowd.wrong(answers) == []
    wait_until(lambda: product.in_flight() == 0, 10)
    assert prompt_tokens(engine) - before == sum(one.prompt_tokens for one in answers)


def leave(client: openai.OpenAI) -> None:
    """Ask, and hang up while the request stands in line; Fairlane may be told of the patience, and end it."""
    with pytest.raises((openai.APITimeoutError, openai.InternalServerError)):
        client.with_options(timeout=1.0).chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "this prompt is never read " * 20}],
            max_tokens=8,
        )


def test_an_engine_that_dies_under_load_comes_back_without_a_burst(
    engine, product, read, request, capsys
) -> None:
    """Killed with requests inside and in line; those in line wait for it and are served."""
    own = request.getfixturevalue("own_vllm" if engine.engine == "vllm" else "own_llamacpp")
    if own.url != engine.url:
        pytest.skip("the engine was not started here")
    asks = [Ask(tenant, prompt, stream=True) for tenant in WEIGHTS for prompt in PROMPTS for _ in range(5)]
    answers: list[Heard] = []
    flood = threading.Thread(target=lambda: answers.extend(crowd.ask_all(product.url, product.secrets, asks)))

    with Watch(read, product.pool) as watch:
        flood.start()
        wait_until(lambda: any(load.waiting for load in watch.loads), 30)
        own.kill()
        down_s = time.monotonic()
        time.sleep(LEAST_DOWN_S)
        own.start()
        up_s = time.monotonic()
        flood.join()

    bad = crowd.wrong(answers)
    cut = [one for one in bad if one.first_s < down_s + 1]  # the engine had begun to answer
    refused = Counter(f"{one.status} {one.error}" for one in bad if one not in cut)
    after = [load for load in watch.loads if not load.error][-len(watch.full(SEATS)) :]
    back_s = min((one.first_s for one in answers if one.tokens and one.first_s > up_s), default=up_s) - up_s
    with capsys.disabled():
        print(
            f"\n{engine.engine}: down {up_s - down_s:.1f} s, first token {back_s:.1f} s after it was up; "
            f"of {len(asks)} {len(cut)} cut, {dict(refused)} refused; "
            f"most waiting {max(load.waiting for load in after)}"
        )
    assert len(cut) <= SEATS + 1  # one more may have been said, and not yet be here
    assert not refused, "whatever else waited, here or in the engine, waited for it"
    assert max(load.waiting for load in after) <= TARGET + 2
    for shown in (backend for pool in watch.pools for backend in pool["backends"]):
        assert shown["in_flight"] <= shown["cap"]
