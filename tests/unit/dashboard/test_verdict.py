"""The overview's first line: the worst thing that is true, in one sentence."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from dashboard import words
from dashboard.boards import overview, queues
from dashboard.boards import tenants as tenants_board
from dashboard.boards.backends import Moment
from gateway.pictures import BackendPicture, Picture, PoolPicture, TenantPicture
from scheduling.core.control import BackendState
from scheduling.core.policy import BackendRule, Policy, PoolRule, TenantRule

NOW = Moment(now_s=1000.0, stale_after_s=10.0)


def line(tenant: str, **values) -> TenantPicture:
    usual = {
        "queued": 0, "queued_tokens": 0, "oldest_wait_ms": None, "in_flight": 0, "weight": 1,
        "entitled": None,
        "served_1m": None, "served_5m": None, "served_tokens_1m": 0, "served_tokens_5m": 0, "classes": (),
    }  # fmt: skip
    return TenantPicture(tenant, **{**usual, **values})


def picture(*tenants: TenantPicture, at_s: float = 999.5, **values) -> Picture:
    gate = BackendPicture("gpu-0", 3, 1, 3, 32, draining=False)
    usual = {"queued": 0, "in_flight": 3, "oldest_wait_ms": None, "tokens_per_s": 0.0, "jain": None}
    pool = PoolPicture("main", "fifo", **{**usual, **values}, tenants=tenants, backends=(gate,))
    return Picture(at_s, 1, 1, (pool,))


def rules(*, draining: bool = False) -> Policy:
    return Policy(
        1,
        tenants=MappingProxyType({"chat": TenantRule("chat", quotas=MappingProxyType({"in_flight": 4}))}),
        pools=MappingProxyType({"main": PoolRule("main")}),
        backends=MappingProxyType({"gpu-0": BackendRule("gpu-0", "main", frozenset(), draining=draining)}),
    )


def signals(**values) -> dict[str, BackendState]:
    usual = {"read_at_s": 999.0, "running": 3, "waiting": 0}
    return {"gpu-0": BackendState("gpu-0", 3, 32, 3, 32, "window holds", **{**usual, **values})}


def say(policy=None, seen=None, states=None) -> tuple[str, str]:
    _, word, text = overview.verdict(policy or rules(), seen or picture(), states or signals(), NOW)
    return word, text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("told", "word", "part"),
    [
        pytest.param({"seen": Picture(0, 0, 0, ())}, "No gateway", "manage.py serve", id="nobody publishes"),
        pytest.param({"seen": picture(at_s=990.0)}, "Stale", "10.0 s old", id="old picture"),
        pytest.param({"policy": Policy(1)}, "No backend", "Add a backend", id="empty"),
        pytest.param(
            {"states": signals(error="timeout")}, "Degraded", "gpu-0 cannot be read: timeout", id="failing"
        ),
        pytest.param({"states": signals(read_at_s=980.0)}, "Degraded", "stale", id="stale metrics"),
        pytest.param({"policy": rules(draining=True)}, "Closed", "nothing is dispatched", id="all drain"),
        pytest.param(
            {"seen": picture(queued=9, oldest_wait_ms=40_000)}, "Saturated", "9 requests", id="long wait"
        ),
        pytest.param({"seen": picture(queued=9, oldest_wait_ms=900)}, "Busy", "900 ms", id="short wait"),
        pytest.param({}, "Healthy", "3 requests in flight", id="calm"),
    ],
)
def test_the_worst_that_is_true_is_said(told, word, part):
    said, text = say(**told)

    assert said == word
    assert part in text


def test_who_waits_long_below_its_share_is_named_with_the_policy():
    quiet = line("quiet", queued=5, oldest_wait_ms=4_700, entitled=0.333, served_1m=0.019)
    word, text = say(
        seen=picture(line("greedy", queued=44, entitled=0.333, served_1m=0.97), quiet, queued=49)
    )

    assert word == "Unfair"
    assert "quiet waits for 4.7 s in main" in text
    assert "1.9 %" in text
    assert "fifo" in text


def test_a_paused_pool_is_no_injustice_and_is_named():
    quiet = line("quiet", queued=5, oldest_wait_ms=47_000, entitled=0.5, served_1m=0.01)
    word, text = say(seen=picture(quiet, queued=5, oldest_wait_ms=47_000, paused=True))

    assert (word, text) == ("Paused", "Nothing is seated in main until it is resumed: 5 requests waiting.")


def test_who_is_paused_and_who_is_boosted_is_said_in_the_queue():
    tenants = {
        "chat": TenantRule("chat", paused=True),
        "research": TenantRule("research", boost=3, boost_until_s=NOW.now_s + 60),
        "past": TenantRule("past", boost=3, boost_until_s=NOW.now_s),
    }
    policy = replace(rules(), tenants=tenants, pools={"main": PoolRule("main", "fifo", paused=True)})
    board = queues.build(policy, picture(line("chat", queued=1)), "main", NOW.now_s)

    chat, past, research = board.rows
    assert (chat.text["state"], past.text["boost"]) == ("paused", "")
    assert research.text["boost"] == f"{words.TIMES}3 until 00:17\N{NO-BREAK SPACE}UTC"
    assert (board.text["pool_state"], board.text["pool_pause"]) == ("paused", "Resume pool")
    assert board.text["pool_in_force"] == "The gateway still seats requests."
    own = tenants_board.build_one(policy, picture(), "past", NOW.now_s + 120)
    assert own.text["tenant_boost"] == f"{words.TIMES}3 ended 2\N{NO-BREAK SPACE}m ago"


def test_a_burst_of_a_moment_is_not_called_unfair():
    quiet = line("quiet", queued=1, oldest_wait_ms=9, entitled=0.5, served_1m=0.02)

    assert say(seen=picture(quiet, queued=1, oldest_wait_ms=9))[0] == "Busy"


def test_a_tenant_at_its_in_flight_quota_is_said_to_be_so():
    board = queues.build(rules(), picture(line("chat", queued=3, in_flight=4)), "main", NOW.now_s)

    assert board.rows[0].text["state"] == "at its in-flight quota"


def test_small_shares_are_drawn_on_a_smaller_scale():
    many = [line(f"t{n}", queued=1, entitled=0.02, served_1m=0.02) for n in range(50)]
    board = queues.build(rules(), picture(*many), "main", NOW.now_s)

    assert board.text["queue_scale"] == "5%"
    assert board.rows[1].attrs["bar_1m"] == {"width": "40.0"}


def test_of_very_many_tenants_those_with_work_are_shown_and_the_rest_counted():
    tenants = {f"t{n:04}": TenantRule(f"t{n:04}") for n in range(1_000)}
    policy = Policy(1, tenants=MappingProxyType(tenants), pools=MappingProxyType({"main": PoolRule("main")}))
    board = queues.build(policy, picture(line("t0999", queued=1)), "main", NOW.now_s)

    assert len(board.rows) == queues.MOST_ROWS
    assert board.rows[-1].id == "q-t0999"
    assert board.text["queue_more"].startswith("800 more tenants")


def test_only_what_is_fixed_in_a_row_makes_new_html():
    first = queues.build(rules(), picture(line("chat", queued=1)), "main", NOW.now_s).rows[0]
    later = queues.build(rules(), picture(line("chat", queued=2)), "main", NOW.now_s).rows[0]
    suspended = Policy(
        2,
        tenants=MappingProxyType({"chat": TenantRule("chat", suspended=True)}),
        pools=MappingProxyType({"main": PoolRule("main")}),
    )

    assert first.sign == later.sign
    assert first.text != later.text
    assert queues.build(suspended, picture(line("chat")), "main", NOW.now_s).rows[0].sign != first.sign
