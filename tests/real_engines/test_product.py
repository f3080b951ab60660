"""The whole product in front of a vLLM that is not ours."""

from __future__ import annotations

import time

import pytest

from tests.real_engines.flood import assert_the_quiet_tenant_is_served, quiet_under_flood

pytestmark = [pytest.mark.real_engine, pytest.mark.product]


def test_an_answer_comes_through_with_usage(product) -> None:
    answer = product.quiet.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "hello"}],
        max_tokens=8,
        extra_body={"ignore_eos": True},
    )

    assert answer.usage.completion_tokens == 8


def test_a_power_user_does_not_block_the_others(product, bare, read, capsys) -> None:
    before = quiet_under_flood(bare, bare, read)
    after = quiet_under_flood(product.greedy, product.quiet, read)

    with capsys.disabled():
        print(f"\nbare engine: {before}\nbehind Fairlane: {after}")
    assert_the_quiet_tenant_is_served(before, after)


def test_the_controller_reads_the_engine(product) -> None:
    asked_s, ends_s = time.time(), time.monotonic() + 10
    while (state := product.state("real")) is None or state.read_at_s < asked_s:
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
