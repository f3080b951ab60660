"""The whole product in front of a llama.cpp server that is not ours."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import openai
import pytest

from scheduling.core.outcome import Outcome
from scheduling.engines.endpoint import Endpoint
from tests.real_engines.flood import assert_the_quiet_tenant_is_served, first_token_s, quiet_under_flood
from tests.real_engines.running import OwnEngine

pytestmark = [pytest.mark.real_engine, pytest.mark.product]
SEATS = 4  # run_llama.sh gives the server -np 4
PROMPT = [{"role": "user", "content": "each tenant takes its turn"}]
TO_THE_END = {"ignore_eos": True}  # exactly max_tokens tokens
Figure = TypeVar("Figure")


@pytest.fixture(scope="module")
def engine(own_llamacpp: OwnEngine) -> Endpoint:
    """A llama-server with four seats and its metrics switched on."""
    return Endpoint("real", own_llamacpp.url, "llamacpp")


def now() -> str:
    """The time as the control API takes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def wait_for(look: Callable[[], Figure], right: Callable[[Figure], bool], patience_s: float = 10.0) -> Figure:
    """What was seen when it was right, or at the end of the patience."""
    ends_s = time.monotonic() + patience_s
    while not right(seen := look()) and time.monotonic() < ends_s:
        time.sleep(0.1)
    return seen


def stream(client: openai.OpenAI, tokens: int, **options):
    return client.chat.completions.create(
        model="tiny", messages=PROMPT, max_tokens=tokens, stream=True, extra_body=TO_THE_END, **options
    )


def whole(client: openai.OpenAI, tokens: int):
    return client.chat.completions.create(
        model="tiny", messages=PROMPT, max_tokens=tokens, extra_body=TO_THE_END
    )


def at_once(work: Callable[[openai.OpenAI, int], object], client: openai.OpenAI, tokens: int, count: int):
    """That many requests of one tenant, each in a thread of its own."""
    threads = [threading.Thread(target=work, args=(client, tokens)) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def assert_recorded(record, usage, endpoint: str, *, stream: bool) -> None:
    """The record holds what the engine reported, not our estimate."""
    assert (record["prompt_tokens"], record["completion_tokens"]) == (
        usage.prompt_tokens,
        usage.completion_tokens,
    )
    assert record["estimated"] is False
    assert (record["outcome"], record["status"]) == (Outcome.OK, 200)
    assert (record["endpoint"], record["stream"], record["backend"]) == (endpoint, stream, "real")


def test_a_whole_answer_is_recorded_with_the_engines_figures(product) -> None:
    since = now()

    answer = whole(product.quiet, 8)

    assert answer.choices[0].message.content
    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", 8)
    record = product.last_record("quiet", since)
    assert_recorded(record, answer.usage, "/v1/chat/completions", stream=False)


def test_a_stream_ends_with_the_usage_that_is_recorded(product) -> None:
    since = now()

    with stream(product.quiet, 12, stream_options={"include_usage": True}) as chunks:
        *said, last = list(chunks)

    assert said[-1].choices[0].finish_reason == "length"
    assert any(chunk.choices[0].delta.content for chunk in said)
    assert last.usage.completion_tokens == 12
    record = product.last_record("quiet", since)
    assert_recorded(record, last.usage, "/v1/chat/completions", stream=True)
    assert record["first_token_at"] is not None


def test_usage_that_the_client_did_not_ask_for_is_recorded_and_not_sent(product) -> None:
    since = now()

    with stream(product.quiet, 12) as chunks:
        said = list(chunks)

    assert [chunk.usage for chunk in said] == [None] * len(said)
    assert all(chunk.choices for chunk in said)
    record = product.last_record("quiet", since)
    assert (record["completion_tokens"], record["estimated"]) == (12, False)
    assert record["prompt_tokens"] > 0


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_completion_comes_through(product, streamed) -> None:
    since = now()
    options = {"stream": True, "stream_options": {"include_usage": True}} if streamed else {}

    answer = product.quiet.completions.create(
        model="tiny", prompt="each tenant", max_tokens=8, extra_body=TO_THE_END, **options
    )
    parts = list(answer) if streamed else [answer]

    assert "".join(choice.text for part in parts for choice in part.choices)
    usage = parts[-1].usage
    assert usage.completion_tokens == 8
    assert_recorded(product.last_record("quiet", since), usage, "/v1/completions", stream=streamed)


def test_a_model_that_is_not_served_is_refused_though_the_engine_takes_any_name(product, bare) -> None:
    request = {"model": "no-such-model", "messages": PROMPT, "max_tokens": 4}
    assert bare.chat.completions.create(**request).choices

    with pytest.raises(openai.NotFoundError) as caught:
        product.quiet.chat.completions.create(**request)

    assert caught.value.body["code"] == "model_not_found"
    assert "no-such-model" in caught.value.body["message"]


def test_a_client_that_leaves_its_stream_frees_the_engine(product, read) -> None:
    since = now()
    chunks = stream(product.quiet, 1500)
    next(iter(chunks))
    assert read().running == 1
    assert wait_for(product.in_flight, lambda taken: taken == 1) == 1

    chunks.close()

    assert wait_for(lambda: read().running, lambda running: running == 0, 5) == 0
    assert wait_for(product.in_flight, lambda taken: taken == 0, 5) == 0
    assert product.last_record("quiet", since)["outcome"] == Outcome.CLIENT_GONE_STREAMING


def test_a_client_that_leaves_before_its_whole_answer_frees_our_seat(product, read) -> None:
    since = now()
    with pytest.raises(openai.APITimeoutError):
        whole(product.quiet.with_options(timeout=0.5), 800)

    assert wait_for(product.in_flight, lambda taken: taken == 0, 5) == 0
    assert product.last_record("quiet", since)["status"] == 499
    # Nothing is claimed of the server's own seat but that it is free in the end: see README.md.
    assert wait_for(lambda: read().running, lambda running: running == 0, 90) == 0


def test_the_controller_sees_what_runs_and_what_waits(product) -> None:
    threads = at_once(first_token_s, product.greedy, 150, 4 * SEATS)
    full = wait_for(
        lambda: product.state("real"), lambda state: state and state.running == SEATS and state.waiting
    )
    for thread in threads:
        thread.join()
    idle = wait_for(lambda: product.state("real"), lambda state: not state.running and not state.waiting)

    assert (full.running, full.error) == (SEATS, "")
    assert full.waiting > 0
    assert (idle.running, idle.waiting, idle.error) == (0, 0, "")
    assert idle.work_total > full.work_total
    assert 0 < idle.output_token_s < 5


def test_whole_answers_fill_the_engines_seats(product, read) -> None:
    """They tell no first token: only the readings show that they left the engine's queue."""
    threads = at_once(whole, product.greedy, 300, 3 * SEATS)
    running = wait_for(lambda: read().running, lambda running: running == SEATS)
    for thread in threads:
        thread.join()

    assert running == SEATS


def test_a_power_user_does_not_block_the_others(product, bare, read, capsys) -> None:
    before = quiet_under_flood(bare, bare, read)
    after = quiet_under_flood(product.greedy, product.quiet, read)

    with capsys.disabled():
        print(f"\nbare engine: {before}\nbehind Fairlane: {after}")
    assert_the_quiet_tenant_is_served(before, after)
