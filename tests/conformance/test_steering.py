"""What pauses and boosts in the rules do to requests, whichever revision brings them."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from scheduling.core.policy import TenantRule
from scheduling.dispatchers.base import CancelledByAdmin
from tests.conformance.line import Line, rules, suspended


@pytest.fixture
def line_for(dispatcher_for):
    """Makes a line under these rules; by default one backend of one seat, and no window."""

    async def make(revision: int = 1, **fields) -> Line:
        return Line(await dispatcher_for(steered(revision, **fields)))

    return make


def steered(revision: int, *tenants: TenantRule, **pool):
    return rules(revision, tenants=tenants, admission="static_cap", **pool)


def boosted(slug: str, factor: int, ends_in_s: float) -> TenantRule:
    return TenantRule(slug, boost=factor, boost_until_s=time.time() + ends_in_s)


async def test_a_paused_tenant_waits_while_others_go_and_goes_on_when_resumed(line_for):
    line = await line_for()
    await line.join("acme-0", "acme-1", "beta-1")

    line.dispatcher.set_policy(steered(2, TenantRule("acme", paused=True)))
    await line.end("acme-0")
    await line.until(lambda: line.seated == ["acme-0", "beta-1"])
    await line.end("beta-1")
    await line.join("acme-2")
    assert line.counts() == (2, 0)
    assert line.dispatcher.explain("acme-1").reasons[0].code == "tenant_paused"
    assert [row.paused for row in line.dispatcher.view()[0].tenants] == [True]

    line.dispatcher.set_policy(steered(3, TenantRule("acme")))
    assert (await line.end_all())[2:] == ["acme-1", "acme-2"]


@pytest.mark.parametrize("pauses", [{"tenants": ["acme"]}, {"pool": True}])
async def test_nobody_gets_the_seats_that_come_with_the_same_rules_as_its_pause(line_for, pauses):
    line = await line_for()
    await line.join("acme-0", "acme-1")

    tenants = [TenantRule(slug, paused=True) for slug in pauses.get("tenants", ())]
    line.dispatcher.set_policy(steered(2, *tenants, seats=4, paused=pauses.get("pool", False)))
    assert line.counts() == (1, 1)

    line.dispatcher.set_policy(steered(3, seats=4))
    await line.end_all()


async def test_a_pool_that_is_paused_from_the_start_seats_nobody_until_it_is_resumed(line_for):
    line = await line_for(paused=True)
    await line.join("acme-0", "beta-0")
    assert line.counts() == (2, 0)
    assert line.dispatcher.view()[0].paused

    line.dispatcher.set_policy(steered(2))
    assert await line.end_all() == ["acme-0", "beta-0"]


async def test_a_pause_outlives_changes_of_other_rules(line_for):
    line = await line_for(paused=True)
    await line.join("acme-0")

    line.dispatcher.set_policy(steered(2, paused=True, fairness="round_robin"))
    line.dispatcher.set_policy(steered(3, TenantRule("acme", paused=True), fairness="fifo"))
    line.dispatcher.set_policy(steered(4, TenantRule("acme", 5, paused=True), fairness="vtc", seats=4))
    assert line.counts() == (1, 0)

    line.dispatcher.set_policy(steered(5))
    await line.end_all()


async def test_a_paused_tenant_that_is_suspended_loses_its_place(line_for):
    line = await line_for()
    line.dispatcher.set_policy(steered(2, TenantRule("acme", paused=True)))
    await line.join("acme-0")

    line.dispatcher.set_policy(steered(3, suspended("acme")))
    await line.until(line.clients["acme-0"].task.done)
    assert isinstance(line.clients["acme-0"].task.exception(), CancelledByAdmin)


async def test_a_boosted_tenant_goes_more_often_as_if_it_weighed_more(line_for):
    line = await line_for()
    line.dispatcher.set_policy(steered(2, boosted("acme", 3, 60)))
    await line.join("zero-0", *(f"{name}-{n}" for n in range(6) for name in ("acme", "beta")))

    assert [row.boost for row in line.dispatcher.view()[0].tenants] == [3, 1, 1]
    order = (await line.end_all())[1:9]
    assert order.count("beta-0") + order.count("beta-1") == 2
    assert sum(name.startswith("acme") for name in order) == 6


async def test_a_boost_ends_by_itself_at_its_time(line_for):
    line = await line_for()
    await line.join("acme-0", "acme-1")
    line.dispatcher.set_policy(steered(2, boosted("acme", 3, 0.05)))
    assert line.dispatcher.view()[0].tenants[0].boost == 3

    await line.until(lambda: line.dispatcher.view()[0].tenants[0].boost == 1)
    await line.end_all()


async def test_a_boost_that_has_ended_is_not_in_force(line_for):
    line = await line_for()
    await line.join("acme-0")
    line.dispatcher.set_policy(steered(2, boosted("acme", 3, -1)))

    assert line.dispatcher.view()[0].tenants[0].boost == 1
    await line.end_all()


async def test_a_boost_is_ended_early_and_a_tenant_that_leaves_takes_its_pause_along(line_for):
    line = await line_for()
    await line.join("acme-0", "beta-0")
    one = boosted("acme", 3, 60)
    line.dispatcher.set_policy(steered(2, one, TenantRule("beta", paused=True)))
    line.dispatcher.set_policy(steered(3, replace(one, boost=1), TenantRule("beta", paused=True)))
    assert [(row.boost, row.paused) for row in line.dispatcher.view()[0].tenants] == [(1, False), (1, True)]

    line.dispatcher.set_policy(steered(4))
    assert not any(row.paused for row in line.dispatcher.view()[0].tenants)
    await line.end_all()
