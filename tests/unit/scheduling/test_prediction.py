"""The estimate of an answer's length: where it begins, how it follows, what it forgets."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduling.core import prediction
from scheduling.core.prediction import MEDIAN_OF, MEMORY, Estimates


def taught(*answers: int, tenant: str = "acme", pool: str = "main") -> Estimates:
    estimates = Estimates()
    for tokens in answers:
        estimates.learn(tenant, "llama", pool, tokens)
    return estimates


def test_before_anybody_answered_the_first_guess_is_256():
    assert Estimates().completion_tokens("acme", "llama", "main") == 256


@pytest.mark.parametrize("tokens", [1, 2, 40])
def test_who_answered_once_is_expected_to_answer_alike(tokens):
    assert taught(tokens).completion_tokens("acme", "llama", "main") == tokens


def test_a_stranger_is_expected_to_answer_as_its_pool_does():
    estimates = taught(10, 90, 30)

    assert estimates.completion_tokens("beta", "llama", "main") == 30
    assert estimates.completion_tokens("beta", "llama", "elsewhere") == 256


def test_the_pools_median_counts_as_a_strangers_first_answer():
    estimates = taught(10, 90, 30)

    estimates.learn("beta", "llama", "main", 50)

    assert estimates.completion_tokens("beta", "llama", "main") == 40


def test_a_tenant_is_known_by_model():
    estimates = taught(10)
    estimates.learn("acme", "qwen", "other", 500)

    assert estimates.completion_tokens("acme", "llama", "main") == 10
    assert estimates.completion_tokens("acme", "qwen", "other") == 500


def test_the_estimate_is_the_mean_of_the_first_answers_and_then_follows_by_sixteenths():
    assert taught(10, 20, 60).completion_tokens("acme", "llama", "main") == 30

    estimates = taught(*[0] * MEMORY)
    estimates.learn("acme", "llama", "main", 1_600)
    assert MEMORY == 16
    assert estimates.completion_tokens("acme", "llama", "main") == 100
    estimates.learn("acme", "llama", "main", 100)
    assert estimates.completion_tokens("acme", "llama", "main") == 100


def test_an_answer_is_never_expected_to_be_empty():
    assert taught(0, 0, 0).completion_tokens("acme", "llama", "main") == 1
    assert taught(0, 0, 0).completion_tokens("beta", "llama", "main") == 1


@settings(max_examples=20)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=3 * MEDIAN_OF))
def test_a_pools_median_is_that_of_its_latest_200_answers(answers):
    latest = sorted(answers[-200:])

    assert taught(*answers).median_tokens("main") == max(1, latest[len(latest) // 2])


@settings(max_examples=50)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_a_pools_median_forgets_its_oldest_answer_with_each_new_one(answers):
    with patch.object(prediction, "MEDIAN_OF", 5):
        estimates = Estimates()
        for number, tokens in enumerate(answers, 1):
            estimates.learn("acme", "llama", "main", tokens)
            latest = sorted(answers[max(0, number - 5) : number])
            assert estimates.median_tokens("main") == max(1, latest[len(latest) // 2])


def test_the_201st_answer_of_a_pool_makes_its_first_one_forgotten():
    estimates = taught(900, *[10] * 99, *[900] * 100)
    assert MEDIAN_OF == 200
    assert estimates.median_tokens("main") == 900

    estimates.learn("acme", "llama", "main", 10)
    assert estimates.median_tokens("main") == 900
    estimates.learn("acme", "llama", "main", 900)
    assert estimates.median_tokens("main") == 900
    assert len(estimates._latest["main"]._by_length) == len(estimates._latest["main"]._by_age) == 200


def test_each_pool_has_a_median_of_its_own_and_256_before_its_first_answer():
    estimates = taught(40, pool="other")
    estimates.learn("acme", "llama", "main", 900)

    assert [estimates.median_tokens(pool) for pool in ("other", "main", "new")] == [40, 900, 256]


def test_who_was_not_heard_of_longest_is_forgotten_first(monkeypatch):
    monkeypatch.setattr(prediction, "MAX_PAIRS", 2)
    estimates = Estimates()
    for tenant, tokens in (("acme", 900), ("beta", 900), ("acme", 900), ("gamma", 900), ("gamma", 4)):
        estimates.learn(tenant, "llama", tenant, tokens)

    assert estimates.completion_tokens("acme", "llama", "nowhere") == 900
    assert estimates.completion_tokens("gamma", "llama", "nowhere") == 452
    assert estimates.completion_tokens("beta", "llama", "nowhere") == 256
    assert len(estimates._means) == 2
