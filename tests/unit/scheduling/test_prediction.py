"""The estimate of an answer's length: where it begins, how it follows, what it forgets."""

from __future__ import annotations

from scheduling.core import prediction
from scheduling.core.prediction import MEDIAN_OF, MEMORY, REFRESH_EVERY, Estimates


def taught(*answers: int, tenant: str = "acme", pool: str = "main") -> Estimates:
    estimates = Estimates()
    for tokens in answers:
        estimates.learn(tenant, "llama", pool, tokens)
    return estimates


def test_before_anybody_answered_the_first_guess_is_256():
    assert Estimates().completion_tokens("acme", "llama", "main") == 256


def test_who_answered_once_is_expected_to_answer_alike():
    assert taught(40).completion_tokens("acme", "llama", "main") == 40


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


def test_the_pools_median_follows_at_once_at_first_and_then_every_eighth_answer():
    estimates = taught(10, 10, 10, 10, 70, 70, 70, 70)
    assert REFRESH_EVERY == 8
    for _ in range(7):
        estimates.learn("acme", "llama", "main", 10)
        assert estimates.completion_tokens("beta", "llama", "main") == 70

    estimates.learn("acme", "llama", "main", 10)

    assert estimates.completion_tokens("beta", "llama", "main") == 10


def test_the_eighth_answer_of_a_pool_still_counts_at_once():
    estimates = taught(*[10] * 3, pool="other")
    for tokens in (1, 1, 1, 1, 9, 9, 9, 9):
        estimates.learn("acme", "llama", "main", tokens)

    assert estimates.completion_tokens("beta", "llama", "main") == 9


def test_a_pools_median_looks_at_its_latest_answers():
    estimates = taught(*[10] * MEDIAN_OF, *[900] * 24)
    assert MEDIAN_OF == 51
    assert estimates.completion_tokens("beta", "llama", "main") == 10

    for _ in range(8):
        estimates.learn("acme", "llama", "main", 900)

    assert estimates.completion_tokens("beta", "llama", "main") == 900


def test_who_was_not_heard_of_longest_is_forgotten_first(monkeypatch):
    monkeypatch.setattr(prediction, "MAX_PAIRS", 2)
    estimates = Estimates()
    for tenant, tokens in (("acme", 900), ("beta", 900), ("acme", 900), ("gamma", 900), ("gamma", 4)):
        estimates.learn(tenant, "llama", tenant, tokens)

    assert estimates.completion_tokens("acme", "llama", "nowhere") == 900
    assert estimates.completion_tokens("gamma", "llama", "nowhere") == 452
    assert estimates.completion_tokens("beta", "llama", "nowhere") == 256
    assert len(estimates._mean) == 2
