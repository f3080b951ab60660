"""The core keeps to the numbers that its cards and documents state."""

from __future__ import annotations

import pytest

from scheduling.core import (
    admission,
    bounds,
    circuit,
    engine_order,
    hierarchy,
    levels,
    machine,
    policy,
    prediction,
    prefixes,
    routing,
    tags,
    timers,
    trim,
    turns,
    usage,
)
from tests.unit.scheduling.machines import ticket


@pytest.mark.parametrize(
    ("module", "name", "number"),
    [
        pytest.param(tags, "LAG_LIMIT", 500_000_000, id="milli-tokens that a shut name may catch up"),
        pytest.param(tags, "TURN", 1_000_000, id="price of a weighted turn"),
        pytest.param(turns, "QUANTUM", 1_000_000, id="milli-tokens a round"),
        pytest.param(turns, "LOAD", 1_000_000, id="one request in flight, in millionths"),
        pytest.param(turns, "TURN_BITS", 48, id="bits of a turn"),
        pytest.param(levels, "MILLI", 1_000, id="milli-tokens per cost token"),
        pytest.param(levels, "SLACK", 64, id="stale entries before a sweep"),
        pytest.param(machine, "MOST_WAYS", 10_000, id="ways that are remembered"),
        pytest.param(timers, "SLACK", 64, id="stale timers before a sweep"),
        pytest.param(hierarchy, "NAMES_TRACKED", 10_000, id="names known inside one name"),
        pytest.param(hierarchy, "SHARED_LINES", 128, id="lines for all further names"),
        pytest.param(levels, "TABLE_FOR_MS", 500, id="age of a table of places"),
        pytest.param(admission, "PROMOTED_ONE_IN", 4, id="seats of which an aged class gets one"),
        pytest.param(bounds, "PAUSE_MS", 1_000, id="time that a full engine is left alone"),
        pytest.param(bounds, "MOST_LEARNT", 4096, id="most that an engine may say it takes at once"),
        pytest.param(admission, "GROWS_BY", 16, id="tokens of memory ahead of a long answer"),
        pytest.param(circuit, "FAILURES_TO_OPEN", 3, id="failures in a row that open a circuit"),
        pytest.param(circuit, "FIRST_BACK_OFF_MS", 1_000, id="first time that a circuit is open"),
        pytest.param(circuit, "LONGEST_BACK_OFF_MS", 30_000, id="longest time that a circuit is open"),
        pytest.param(prefixes, "MOST_KNOWN", 8192, id="beginnings of prompts known of a backend"),
        pytest.param(engine_order, "RANK", 2**50, id="between the orders of two classes"),
        pytest.param(routing, "LOAD_SCALE", 1_000_000, id="a full backend, in millionths"),
        pytest.param(usage, "PROMPT_WEIGHT", 1, id="cost of a prompt token"),
        pytest.param(usage, "COMPLETION_WEIGHT", 2, id="cost of a completion token"),
        pytest.param(policy, "MAX_QUOTA", 1_000_000_000_000_000, id="largest quota"),
        pytest.param(policy, "MAX_WEIGHT", 1_000, id="largest weight"),
        pytest.param(policy, "DEFAULT_WEIGHT", 1, id="weight of an unknown tenant"),
        pytest.param(policy, "MAX_BOOST", 100, id="largest boost"),
        pytest.param(prediction, "COLD_START_TOKENS", 256, id="first guess of an answer"),
        pytest.param(prediction, "MAX_PAIRS", 10_000, id="tenants times models remembered"),
        pytest.param(prediction, "CHARS_PER_TOKEN", 4, id="characters of a token"),
        pytest.param(trim, "WINDOW_CEILING", 128, id="widest window"),
    ],
)
def test_a_stated_number_holds(module, name, number):
    assert getattr(module, name) == number


def test_what_no_rule_says_is_as_the_manual_has_it():
    tenant, pool = policy.TenantRule("acme"), policy.PoolRule("main")
    backend, rank = policy.BackendRule("gpu-0", "main", frozenset()), policy.ClassRule("batch", 2)

    assert (tenant.weight, tenant.priority_class, tenant.suspended) == (1, "standard", False)
    assert (tenant.paused, tenant.boost, tenant.boost_until_s) == (False, 1, 0.0)
    assert (pool.window_requests, pool.engine_queue_target_requests, pool.tpot_target_ms) == (3, 3, None)
    assert (pool.counts_sent, pool.kv_fill_percent) == (False, 100)
    assert (backend.max_in_flight, backend.draining) == (32, False)
    assert (rank.reserved_seats, rank.lent_seats, rank.max_wait_ms) == (0, 0, None)
    assert ticket("acme-0").attempt == 1
    assert policy.Prices() == policy.Prices(0, 0, 0)
    assert usage.CostRule().cached_discount_percent == 0
    assert usage.Usage() == usage.Usage(0, 0, 0, estimated=True, rule=usage.DEFAULT_COST)
    assert (usage.Usage().cost_tokens, usage.CostRule(cached_discount_percent=100).of(100, 10)) == (0, 120)


def test_a_boost_counts_until_its_end_and_not_at_it():
    tenant = policy.TenantRule("acme", boost=7, boost_until_s=50.0)

    assert [tenant.boost_at(now_s) for now_s in (0.0, 49.9, 50.0, 51.0)] == [7, 7, 1, 1]


@pytest.mark.parametrize(
    ("order", "start"),
    [
        (tags.StartTags, 0),
        (tags.Counters, 0),
        (turns.Turns, 1 << 62),
        (turns.Rounds, (1 << 48) - 1),
        (turns.Loads, 1 << 120),
    ],
)
def test_an_order_begins_where_no_idle_name_has_anything_worth_remembering(order, start):
    assert order.START == start == order().now


def test_the_keys_of_loads_and_turns_never_pass_the_start():
    million_seats = (1_000_000 * turns.LOAD) << turns.TURN_BITS
    long_enough = 2_900 * 365 * 86_400 * 3_000

    assert million_seats < turns.Loads.START
    assert long_enough < (1 << turns.TURN_BITS) < turns.Turns.START
