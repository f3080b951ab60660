"""The demo traffic button: the article's picture on request."""

from __future__ import annotations

import asyncio
import time

import pytest
from django.core.exceptions import ValidationError

from gateway import demo, demo_run
from gateway.models import ApiToken, UsageRecord
from tests.fakes.engine import running_engine
from tests.fakes.plane import MODEL, read, running_plane
from tests.fakes.waiting import until

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


async def test_one_greedy_tenant_queues_while_two_quiet_ones_are_served_until_it_is_stopped(
    valkey, settings
) -> None:
    async with running_engine(time_scale=4, model=MODEL) as engine, running_plane() as plane:
        await plane.setup([engine], {}, seats=4)
        settings.KNOBS = {**settings.KNOBS, "FAIRLANE_GATEWAY_URL": plane.url}
        began = await plane.write(demo.start)
        run = asyncio.create_task(read(demo_run.run, MODEL, time.time() + 30))

        def lines():
            views = [line for pool in plane.gateway.dispatcher.view() for line in pool.tenants]
            return {line.tenant: line.queued for line in views}

        await until(lambda: lines().get(demo.GREEDY, 0) > 40, patience_s=10)
        await until(lambda: {tenant for _, tenant, _ in plane.gateway.dispatcher.served()} >= set(demo.QUIET))
        crowd = lines()
        ended = await asyncio.to_thread(demo.stop)
        async with asyncio.timeout(5):
            answered = await run

    assert (began.running, ended.running) == (True, False)
    assert all(crowd.get(quiet, 0) < 10 for quiet in demo.QUIET)
    assert answered > 0
    assert await read(UsageRecord.objects.filter(outcome="ok").count) >= answered
    assert await read(ApiToken.objects.filter(revoked_at=None).count) == 0


@pytest.mark.django_db
def test_demo_traffic_needs_a_model_to_ask_for(valkey) -> None:
    with pytest.raises(ValidationError, match="Add one under Backends first"):
        demo.start(by="admin:ada")
