"""What a gateway tells of its queue, and what the console makes of it."""

from __future__ import annotations

import pytest

from gateway.picture_merge import merge
from gateway.snapshots import take
from scheduling.core.usage import Usage
from scheduling.dispatchers.memory import MemoryDispatcher
from tests.conformance.line import rules, ticket


async def test_a_tenants_share_is_of_what_its_class_was_served_through_the_whole_picture():
    now_ms = 0
    policy = rules()
    dispatcher = MemoryDispatcher(policy, lambda: now_ms)
    used = [("acme-0", "standard", 300), ("beta-0", "standard", 100), ("gamma-0", "batch", 100)]
    for name, priority_class, tokens in used:
        asked = ticket(name, queued_ms=0, priority_class=priority_class)
        async with dispatcher.lease(asked, Usage(prompt_tokens=tokens)):
            pass

    snapshot = take(dispatcher, policy, "g1", 1.0)
    (pool,) = merge([snapshot]).pools

    told = {line.tenant: line.served_by_class for line in snapshot.pools[0].tenants}
    assert told == {"acme": {"standard": 300}, "beta": {"standard": 100}, "gamma": {"batch": 100}}
    assert {line.tenant: line.entitled for line in pool.tenants} == {
        "acme": pytest.approx(0.6),
        "beta": pytest.approx(0.2),
        "gamma": pytest.approx(0.2),
    }
    assert pool.jain == pytest.approx(1)
