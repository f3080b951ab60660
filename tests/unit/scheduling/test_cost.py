"""What a request costs: prompt and completion by their weights, less what the engine had in its cache."""

from __future__ import annotations

from scheduling.core.usage import CostRule, Usage, cost_of


def test_a_completion_token_costs_twice_a_prompt_token():
    assert cost_of(100, 7) == 114


def test_a_pool_may_have_weights_of_its_own():
    assert CostRule(3, 5).of(100, 10) == 350


def test_cached_prompt_tokens_are_discounted_by_the_percentage_and_only_if_there_is_one():
    assert CostRule(2, 1, 25).of(100, 10, 40) == 200 + 10 - 20
    assert CostRule(1, 1, 50).of(100, 0, 3) == 100 - 1
    assert CostRule().of(100, 0, 90) == 100
    assert CostRule(1, 1, 100).of(100, 10, 100) == 10


def test_no_more_than_the_prompt_can_have_been_cached():
    assert CostRule(1, 2, 100).of(60, 5, 400) == 10


def test_usage_is_charged_by_the_rule_of_its_pool():
    usage = Usage(prompt_tokens=100, cached_tokens=40, completion_tokens=10, rule=CostRule(1, 3, 50))

    assert usage.cost_tokens == 100 + 30 - 20
