from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.picture_merge import (
    PoolSnapshot,
    Snapshot,
    TenantSnapshot,
    entitled_shares,
    jain,
    merge,
)
from gateway.pictures import BackendPicture
from scheduling.core.view import BackendView


def row(tenant: str, *, weight: int = 1, queued: int = 0, served: int = 0, **more) -> TenantSnapshot:
    return TenantSnapshot(tenant=tenant, weight=weight, queued=queued, served_tokens_1m=served, **more)


def snapshot(gateway: str, *tenants: TenantSnapshot, at_s: float = 100.0, revision: int = 7) -> Snapshot:
    pool = PoolSnapshot(
        pool="main",
        fairness="token_fair",
        queued=sum(t.queued for t in tenants),
        in_flight=sum(t.in_flight for t in tenants),
        tenants=list(tenants),
        backends=[],
    )
    return Snapshot(gateway=gateway, at_s=at_s, revision=revision, pools=[pool])


def test_waiting_tenants_are_entitled_by_weight() -> None:
    shares = entitled_shares([row("research", weight=3, queued=5), row("chat", weight=1, queued=5)])

    assert shares == {"research": 0.75, "chat": 0.25}


def test_what_a_modest_tenant_leaves_goes_to_those_who_wait() -> None:
    shares = entitled_shares(
        [row("greedy", queued=50, served=900, oldest_wait_ms=5000), row("quiet", served=100)]
    )

    assert shares == {"quiet": pytest.approx(0.1), "greedy": pytest.approx(0.9)}


def test_a_request_that_just_arrived_makes_no_tenant_look_cheated() -> None:
    shares = entitled_shares(
        [
            row("greedy", queued=50, served=900, oldest_wait_ms=5000),
            row("quiet", queued=1, served=100, oldest_wait_ms=20),
        ]
    )

    assert shares["quiet"] == pytest.approx(0.1)


def test_a_quiet_tenant_that_waits_for_seconds_is_entitled_to_its_weight() -> None:
    shares = entitled_shares(
        [
            row("greedy", queued=50, served=980, oldest_wait_ms=5000),
            row("quiet", queued=3, served=20, oldest_wait_ms=4000),
        ]
    )

    assert shares == {"greedy": 0.5, "quiet": 0.5}


def test_a_boosted_tenant_is_entitled_by_the_weight_that_counts() -> None:
    shares = entitled_shares([row("research", boost=3, queued=5), row("chat", queued=5)])

    assert shares == {"research": 0.75, "chat": 0.25}


def test_a_paused_tenant_that_waits_leaves_its_share_to_the_others() -> None:
    shares = entitled_shares(
        [
            row("greedy", queued=50, served=900, oldest_wait_ms=5000),
            row("held", queued=9, served=100, oldest_wait_ms=60_000, paused=True),
        ]
    )

    assert shares == {"held": pytest.approx(0.1), "greedy": pytest.approx(0.9)}


def in_classes(tenant: str, *, weight: int = 1, **lines: tuple[int, int]) -> TenantSnapshot:
    """A line in each class: for how many seconds its oldest request waits, and what was served."""
    waits_ms = {name: wait_s * 1000 for name, (wait_s, _) in lines.items() if wait_s}
    served = {name: tokens for name, (_, tokens) in lines.items()}
    return row(
        tenant,
        weight=weight,
        queued=len(waits_ms),
        served=sum(served.values()),
        waits_ms=waits_ms,
        served_by_class=served,
        oldest_wait_ms=max(waits_ms.values(), default=None),
        classes=sorted(waits_ms),
    )


def test_weights_share_a_class_and_not_the_pool() -> None:
    shares = entitled_shares(
        [
            in_classes("chat", interactive=(2, 600)),
            in_classes("search", interactive=(2, 200), weight=3),
            in_classes("nightly", batch=(90, 200), weight=1000),
        ]
    )

    assert shares == {
        "chat": pytest.approx(0.2),
        "search": pytest.approx(0.6),
        "nightly": pytest.approx(0.2),
    }


def test_a_tenant_in_two_classes_has_its_share_of_each() -> None:
    shares = entitled_shares(
        [
            in_classes("both", interactive=(0, 100), batch=(60, 300)),
            in_classes("chat", interactive=(5, 500)),
            in_classes("nightly", batch=(60, 100)),
        ]
    )

    assert shares == {
        "both": pytest.approx(0.1 + 0.2),  # of interactive as little as it asks for, of batch half
        "chat": pytest.approx(0.5),
        "nightly": pytest.approx(0.2),
    }


def test_classes_that_wait_in_turn_are_no_unfairness() -> None:
    (pool,) = merge(
        [snapshot("a", in_classes("chat", interactive=(2, 900)), in_classes("nightly", batch=(99, 100)))]
    ).pools

    assert pool.jain == pytest.approx(1)


def test_what_several_gateways_tell_of_a_class_is_summed() -> None:
    both = [in_classes("chat", interactive=(wait_s, served)) for wait_s, served in ((0, 100), (3, 200))]
    other = in_classes("search", interactive=(3, 700))

    (pool,) = merge([snapshot("a", both[0], other), snapshot("b", both[1])]).pools

    assert [line.entitled for line in pool.tenants] == [pytest.approx(0.5), pytest.approx(0.5)]


def test_in_a_minute_without_service_all_who_wait_share_by_weight() -> None:
    shares = entitled_shares(
        [in_classes("chat", interactive=(2, 0)), in_classes("nightly", batch=(2, 0), weight=3)]
    )

    assert shares == {"chat": 0.25, "nightly": 0.75}


def test_a_boost_or_a_pause_at_one_gateway_is_in_the_picture() -> None:
    told = [snapshot("a", row("chat", queued=1)), snapshot("b", row("chat", queued=1, boost=3, paused=True))]
    told[1].pools[0].paused = True

    pool = merge(told).pools[0]
    assert (pool.paused, pool.tenants[0].boost, pool.tenants[0].paused) == (True, 3, True)
    assert not merge(told[:1]).pools[0].paused


def test_an_idle_tenant_is_entitled_to_nothing_now() -> None:
    assert "idle" not in entitled_shares([row("greedy", queued=1), row("idle")])


@given(
    st.lists(
        st.tuples(st.integers(1, 1000), st.integers(0, 9), st.integers(0, 10**6)), min_size=1, max_size=12
    )
)
def test_shares_never_exceed_the_whole_and_fill_it_while_somebody_waits(rows) -> None:
    tenants = [
        row(f"t{n}", weight=w, queued=q, served=s, oldest_wait_ms=700 * q) for n, (w, q, s) in enumerate(rows)
    ]

    shares = entitled_shares(tenants)

    assert sum(shares.values()) <= 1 + 1e-9
    assert all(share >= -1e-12 for share in shares.values())
    if any(t.queued and t.oldest_wait_ms >= 1000 for t in tenants):
        assert sum(shares.values()) == pytest.approx(1)


def test_jain_is_one_when_all_get_what_they_are_entitled_to() -> None:
    assert jain([0.75, 0.25], [0.75, 0.25]) == pytest.approx(1)
    assert jain([0.5, 0.5], [0.75, 0.25]) == pytest.approx(0.8)


def test_jain_of_one_tenant_says_nothing() -> None:
    assert jain([1.0], [1.0]) is None


def test_two_gateways_make_one_line_per_tenant() -> None:
    picture = merge(
        [
            snapshot("a", row("chat", queued=2, served=100, oldest_wait_ms=10), at_s=50, revision=8),
            snapshot("b", row("chat", queued=3, served=200, oldest_wait_ms=90), at_s=60, revision=7),
        ]
    )

    (line,) = picture.pools[0].tenants
    assert (line.queued, line.served_tokens_1m, line.oldest_wait_ms) == (5, 300, 90)
    assert (picture.at_s, picture.revision, picture.gateways) == (50, 7, 2)


def test_no_gateway_makes_an_empty_picture() -> None:
    assert merge([]).pools == ()


def gates(*views: BackendView) -> BackendPicture:
    parts = [snapshot(f"g{number}") for number in range(len(views))]
    for part, view in zip(parts, views, strict=True):
        part.pools[0].backends = [view]
    (gate,) = merge(parts).pools[0].backends
    return gate


def test_the_worst_circuit_of_any_gateway_is_in_the_picture_with_its_next_try() -> None:
    closed = BackendView("gpu-0", 1, 0, 3, 32, False, False, reserved_kv_tokens=300, kv_tokens=900)
    half = replace(closed, circuit="half_open", slow_start=True)
    shut = replace(closed, circuit="open", retry_in_ms=700)
    longer = replace(shut, retry_in_ms=900)

    assert gates(closed, closed).circuit == "closed"
    assert gates(closed, half).circuit == "half_open"
    both = gates(longer, half, shut)
    assert (both.circuit, both.retry_in_ms, both.slow_start) == ("open", 700, True)
    assert (both.reserved_kv_tokens, both.kv_tokens) == (900, 900)
    assert gates(closed, replace(closed, circuit="ajar")).circuit == "closed"


def test_a_snapshot_of_the_release_before_is_still_read() -> None:
    old = b"""{"gateway":"g","at_s":1.0,"revision":3,"pools":[{"pool":"main","fairness":"fifo","queued":0,
    "in_flight":1,"tenants":[],"backends":[{"backend":"gpu-0","in_flight":1,"pending_first_token":0,
    "window":3,"cap":32,"blocked":false,"draining":false}]}]}"""

    picture = merge([msgspec.json.decode(old, type=Snapshot)])

    (gate,) = picture.pools[0].backends
    assert (gate.circuit, gate.kv_tokens, gate.slow_start, picture.alone) == ("closed", None, False, 0)


def test_gateways_that_read_the_engines_themselves_are_counted() -> None:
    assert merge([snapshot("g1")], alone=1).alone == 1
