"""What every dispatcher must do alike: one suite, run against each of them."""

from __future__ import annotations

import pytest

from scheduling.dispatchers.memory import MemoryDispatcher
from tests.fakes.waiting import clock_ms


@pytest.fixture(params=["memory"])
async def dispatcher_for(request):
    """Builds a dispatcher for a policy; closes what was built."""
    built = []

    async def build(policy):
        dispatcher = MemoryDispatcher(policy, clock_ms)
        built.append(dispatcher)
        return dispatcher

    yield build
    for dispatcher in built:
        dispatcher.close()
