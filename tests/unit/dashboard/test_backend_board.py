"""What a backend's row and page say: its circuit, its caps, its memory, and who reads its metrics."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from dashboard.boards import backend, backends, overview, queues
from dashboard.boards.backends import Moment
from gateway.pictures import BackendPicture, Picture, PoolPicture
from scheduling.core.control import BackendState
from scheduling.core.policy import BackendRule, Policy, PoolRule

NOW = Moment(now_s=1000.0, stale_after_s=10.0)
LEARNS = BackendRule("gpu-0", "main", frozenset(), learns_cap=True)
GATE = BackendPicture("gpu-0", 3, 1, 3, 32, draining=False)
TOLD = BackendState(
    "gpu-0", 3, 32, 3, 32, "window holds", read_at_s=999.0, signal_at_s=960.0, running=3, waiting=0,
    law="first_token_window", max_requests=64, kv_tokens=40_000, capacity=17,
)  # fmt: skip


def picture(gate: BackendPicture = GATE, alone: int = 0) -> Picture:
    pool = PoolPicture("main", "fifo", 0, 3, None, 0.0, None, (), (gate,))
    return Picture(999.5, 1, 1, (pool,), alone)


def rules(rule: BackendRule = LEARNS, pool: PoolRule | None = None) -> Policy:
    pools = {"main": pool or PoolRule("main")}
    return Policy(1, pools=MappingProxyType(pools), backends=MappingProxyType({rule.name: rule}))


def spaced(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def facts(rule=LEARNS, pool=None, gate=GATE, told=TOLD) -> dict[str, str]:
    states = {"gpu-0": told} if told else {}
    board = backend.build(rules(rule, pool), picture(gate), states, "gpu-0", NOW)
    return {key.removeprefix("fact_"): spaced(text) for key, text in board.text.items()}


@pytest.mark.parametrize(
    ("change", "word", "more"),
    [
        ({"circuit": "open", "retry_in_ms": 3200}, "circuit open", "one request tries in 3.2 s"),
        ({"circuit": "half_open"}, "half open", "one request at a time tries"),
        ({"slow_start": True}, "slow start", "one more with each answer"),
        ({}, "open", ""),
    ],
)
def test_a_row_says_what_keeps_requests_from_a_backend(change, word, more) -> None:
    row = backends.row(LEARNS, replace(GATE, **change), TOLD, NOW)
    assert (row.text["state"], spaced(row.text["drain"])) == (word, more)


def test_an_open_circuit_is_the_verdict_before_metrics_that_fail() -> None:
    _, word, text = overview.verdict(
        rules(), picture(replace(GATE, circuit="open")), {"gpu-0": replace(TOLD, error="timeout")}, NOW
    )
    assert word == "Degraded"
    assert "gpu-0 cannot be reached" in text


@pytest.mark.parametrize(
    ("rule", "told", "note", "fact"),
    [
        (LEARNS, TOLD, "as the engine says", "64, as the engine says"),
        (LEARNS, replace(TOLD, max_requests=None), "until the engine says", "32 until the engine says"),
        (replace(LEARNS, learns_cap=False, max_in_flight=8), TOLD, "", "8, set here"),
    ],
)
def test_the_most_in_flight_says_where_it_comes_from(rule, told, note, fact) -> None:
    assert backends.row(rule, GATE, told, NOW).text["cap_note"] == note
    assert facts(rule, told=told)["cap"].startswith(fact)


def test_a_page_says_why_the_limit_is_what_it_is_and_how_old_each_reading_is() -> None:
    said = facts()
    assert (said["law"], said["reason"], said["capacity"]) == ("First-token window", "window holds", "17")
    assert (said["read"], said["signal"]) == ("1.0 s ago", "40.0 s ago")
    assert said["stale"] == "older than 10.0 s: Keep the limit"
    assert facts(told=None)["read"] == "never"


@pytest.mark.parametrize(
    ("rule", "pool", "gate", "told", "says"),
    [
        (LEARNS, None, replace(GATE, reserved_kv_tokens=12_000, kv_tokens=36_000), TOLD,
         "12.0 k of 36.0 k reserved; it holds 40.0 k tokens, as the engine says"),
        (replace(LEARNS, kv_tokens=9000), None, GATE, TOLD, "holds 9 k tokens, set here"),
        (LEARNS, None, GATE, replace(TOLD, kv_tokens=None), "nothing is reserved: neither"),
        (LEARNS, PoolRule("main", kv_fill_percent=0), GATE, TOLD, "the pool's policy has that off"),
    ],
)  # fmt: skip
def test_kv_memory_is_shown_reserved_of_total_or_why_it_is_not(rule, pool, gate, told, says) -> None:
    assert says in facts(rule, pool, gate, told)["memory"]


def test_a_law_without_a_window_shows_none() -> None:
    assert backends.row(LEARNS, GATE, replace(TOLD, law="gradient"), NOW).text["window"] == "\N{EM DASH}"
    assert backends.row(LEARNS, GATE, TOLD, NOW).text["window"] == "3"


def test_every_page_about_engines_says_when_gateways_read_them_on_their_own() -> None:
    for alone, shown in ((0, False), (2, True)):
        seen = picture(alone=alone)
        for board in (
            overview.build(rules(), seen, {}, NOW),
            backends.build(rules(), seen, {}, NOW),
            backend.build(rules(), seen, {}, "gpu-0", NOW),
            queues.build(rules(), seen, "main", NOW.now_s),
        ):
            assert ("2 gateways read the engines" in board.text["notice"]) == shown
            assert ("warn" in board.attrs["notice"]["class"]) == shown


def test_a_backend_that_is_gone_has_an_empty_page() -> None:
    assert backend.build(rules(), picture(), {}, "gone", NOW).rows == ()


def test_a_half_open_backend_that_cannot_be_read_is_as_bad_as_one_that_cannot_be_read() -> None:
    half, told = replace(GATE, circuit="half_open"), replace(TOLD, error="refused", reason="kept: refused")
    assert backends.health(LEARNS, told, NOW, half) == ("bad", "half open")
    assert backends.health(LEARNS, told, NOW, replace(GATE, slow_start=True)) == ("bad", "metrics failing")


def test_an_error_that_the_reason_tells_is_not_told_twice() -> None:
    assert (
        spaced(backends.metrics_age(replace(TOLD, error="refused", reason="kept: refused"), NOW)) == "1.0 s"
    )
    assert spaced(backends.metrics_age(replace(TOLD, error="refused"), NOW)) == "1.0 s: refused"


def test_old_readings_are_not_called_stale_while_gateways_read_themselves() -> None:
    old = {"gpu-0": replace(TOLD, read_at_s=900.0)}
    assert overview.verdict(rules(), picture(), old, NOW)[2].endswith("their limits stand still.")
    assert overview.verdict(rules(), picture(alone=1), old, NOW)[2].startswith("Gateways read the engines")
