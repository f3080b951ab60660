"""What a machine is told of pauses and boosts, and that it is told nothing twice."""

from __future__ import annotations

from dataclasses import replace

from scheduling.core.events import Boosted, BoostEnded, Paused, Resumed
from scheduling.core.policy import PoolRule, TenantRule
from scheduling.core.scheduler import Scheduler
from scheduling.dispatchers.steering import Orders, Steering
from tests.unit.scheduling.machines import POOL, policy

NOW_S = 1_800_000_000.0
NOW_MS = 5_000


def orders(*tenants: TenantRule, paused: bool = False, later_s: float = 0.0) -> Orders:
    rules = replace(
        policy(),
        tenants={rule.slug: rule for rule in tenants},
        pools={POOL: PoolRule(POOL, paused=paused), "other": PoolRule("other", paused=True)},
    )
    return Orders.of(rules, NOW_S + later_s)


def test_the_end_of_a_boost_becomes_the_machines_own_time():
    boosted = TenantRule("acme", boost=4, boost_until_s=NOW_S + 90.5)

    assert Steering(Scheduler(POOL, policy())).obey(orders(boosted), NOW_MS) == [
        Boosted("acme", 4, NOW_MS + 90_500, NOW_MS)
    ]


def test_what_was_told_is_not_told_again_however_often_the_rules_change():
    boosted = TenantRule("acme", boost=4, boost_until_s=NOW_S + 90)
    steering = Steering(Scheduler(POOL, policy()))
    steering.obey(orders(boosted, TenantRule("beta", paused=True), paused=True), NOW_MS)

    again = orders(replace(boosted, weight=7), TenantRule("beta", paused=True), paused=True, later_s=1.003)
    assert steering.obey(again, NOW_MS + 1_001) == []


def test_only_the_own_pool_is_paused_and_pauses_come_before_resumptions():
    steering = Steering(Scheduler(POOL, policy()))

    assert steering.obey(orders(TenantRule("beta", paused=True)), 1) == [Paused("beta", 1)]
    assert steering.obey(orders(TenantRule("beta"), paused=True), 2) == [Paused(None, 2), Resumed("beta", 2)]
    assert steering.obey(orders(), 3) == [Resumed(None, 3)]


def test_a_changed_boost_replaces_the_old_and_one_that_is_gone_ends():
    first = TenantRule("acme", boost=4, boost_until_s=NOW_S + 90)
    steering = Steering(Scheduler(POOL, policy()))
    steering.obey(orders(first), 0)

    assert steering.obey(orders(replace(first, boost=2)), 1) == [Boosted("acme", 2, 90_001, 1)]
    assert steering.obey(orders(), 2) == [BoostEnded("acme", 2)]


def test_a_boost_whose_end_has_passed_is_no_order():
    boosted = TenantRule("acme", boost=4, boost_until_s=NOW_S)
    assert orders(boosted).boosts == {}
    assert orders(boosted, later_s=-0.001).boosts == {"acme": (4, NOW_S)}
