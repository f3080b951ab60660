"""What each policy charges when a request is dispatched."""

from __future__ import annotations

import pytest

from scheduling.core.orders import make
from scheduling.core.usage import CostRule
from tests.unit.scheduling.accounts import LANE, entered
from tests.unit.scheduling.machines import ticket

RULE = CostRule(prompt_weight=3, completion_weight=5)


@pytest.mark.parametrize(("fairness", "charged"), [("token_fair", 3 * 100 + 5 * 40), ("vtc", 3 * 100)])
def test_tokens_are_charged_as_estimated_or_under_vtc_the_prompt_alone(fairness, charged):
    tree = make(fairness, RULE, lambda tenant: 1)
    one = ticket("acme-0", prompt_tokens=100, completion_tokens=40)
    entry = entered(one, RULE.of(100, 40), 1, LANE)
    tree.join(entry)
    tree.push(entry)

    tree.serve(entry)

    assert [share.key for share in entry.shares] == [charged * 1000] * 2


def test_deficits_are_spent_on_the_estimate():
    tree = make("deficit_round_robin", RULE, lambda tenant: 1)
    entry = entered(ticket("acme-0", prompt_tokens=100, completion_tokens=40), 500, 1, LANE)
    tree.join(entry)
    tree.push(entry)

    tree.serve(entry)

    assert [share.tally for share in entry.shares] == [500_000] * 2
