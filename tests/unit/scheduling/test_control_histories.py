"""Any history of readings, under every law and stale rule: never over the cap, never opened by a bad page."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduling.core.backend_state import BackendState, OwnCounts
from scheduling.core.laws import LAWS
from scheduling.core.learned import MAX_CAP
from scheduling.core.limits import EngineLoad
from tests.unit.scheduling.controlled import GPU, POOL, Controller

TARGET = POOL.engine_queue_target_requests
STALE = ("keep", "open", "closed")
WILD = st.none() | st.integers(0, 200) | st.sampled_from([-1, 10**12, math.nan, math.inf, -math.inf])
FRACTIONS = st.none() | st.floats(0, 1) | st.sampled_from([-0.5, 37.0, math.nan, math.inf])
OWN = st.none() | st.builds(
    OwnCounts,
    pending=st.integers(0, 64),
    in_flight=st.integers(0, 64),
    blocked=st.booleans(),
    streaming=st.integers(0, 3),
    answered=st.integers(0, 9),
    answer_ms=st.integers(0, 9000),
)
# Every number may be missing or absurd; counters run any way they like.
PAGES = st.fixed_dictionaries(
    {
        "running": WILD,
        "waiting": WILD,
        "kv_usage": FRACTIONS,
        "output_token_s": FRACTIONS,
        "preemptions_total": WILD,
        "work_total": WILD,
        "started_at_s": WILD,
        "max_requests": WILD,
        "kv_tokens": WILD,
        "down": st.booleans(),
        "error": st.sampled_from(["", "", "", "timeout"]),
        "age_s": st.sampled_from([0.0, 0.5, 9.0, 50.0, -5.0, math.nan]),
    }
)
HISTORIES = st.lists(st.tuples(PAGES, OWN, st.sampled_from([1.0, 1.0, 4.0])), max_size=12)
RULES = {
    "admission": st.sampled_from(sorted(LAWS)),
    "stale": st.sampled_from(STALE),
    "tpot": st.sampled_from([None, 150]),
    "counts_sent": st.booleans(),
    "learns": st.booleans(),
}


def controller(
    *, admission: str, stale: str, tpot: int | None, counts_sent: bool, learns: bool
) -> Controller:
    pool = replace(POOL, admission=admission, stale=stale, tpot_target_ms=tpot, counts_sent=counts_sent)
    return Controller(pool, replace(GPU, learns_cap=learns))


def feel(backend: Controller, page: dict, own: OwnCounts | None, passed_s: float) -> BackendState:
    said = {**page}
    read_at_s = backend.now_s - said.pop("age_s")
    state = backend.step(EngineLoad("gpu-0", read_at_s, **said), own)
    backend.now_s += passed_s - 1.0
    return state


@given(history=HISTORIES, **RULES)
def test_whatever_an_engine_says_no_limit_is_over_its_cap_and_each_has_a_reason(history, **rules):
    backend = controller(**rules)
    epoch = 0
    for page, own, passed_s in history:
        state = feel(backend, page, own, passed_s)
        limit = state.limit()

        most = MAX_CAP if rules["learns"] else 64
        shut = rules["stale"] == "closed" or rules["admission"] == "queue_target"
        assert (0 if shut else 1) <= limit.window <= most
        assert (0 if shut else 1) <= limit.cap <= most
        assert 1 <= state.window <= 128
        assert limit.reason
        assert limit.grant is None or 0 <= limit.grant <= 3
        assert limit.kv_tokens is None or limit.kv_tokens >= 0
        assert 0 <= limit.capacity <= MAX_CAP
        assert limit.epoch in {epoch, epoch + 1}
        assert all(math.isfinite(value) for value in numbers_of(state))
        epoch = limit.epoch


def numbers_of(state: BackendState) -> list[float]:
    """What is stored as JSON, where a number that is none would not come back."""
    values = [getattr(state, name) for name in BackendState.__slots__]
    return [value for value in values if isinstance(value, int | float)]


@given(
    history=HISTORIES,
    gap_s=st.sampled_from([1.0, 4.0, 30.0]),
    waiting=st.sampled_from([0, 2, 50]),
    bad=st.sampled_from(
        [
            {"error": "timeout"},
            {"error": "no page", "down": True},
            {"running": None, "waiting": None},
            {"running": math.nan, "waiting": -1},
            {"age_s": 50.0},
            {"age_s": math.nan},
        ]
    ),
    own=OWN,
    **RULES,
)
def test_a_bad_reading_opens_nothing_unless_the_stale_rule_is_open(
    history, gap_s, waiting, bad, own, **rules
):
    backend = controller(**rules)
    for page, counts, passed_s in history:
        feel(backend, page, counts, passed_s)
    before = feel(backend, {**GOOD, "waiting": waiting}, OwnCounts(pending=waiting), gap_s)
    for _ in range(4):
        after = feel(backend, {**GOOD, **bad}, own, gap_s)

        if rules["stale"] == "open" and LAWS[rules["admission"]].reads and after.reason.startswith("open"):
            assert after.given_cap <= (MAX_CAP if rules["learns"] else 64)
            continue
        # A gate that the literal rule shut does not stay so for good: so many can make no longer queue.
        least = TARGET if rules["admission"] == "queue_target" and rules["stale"] == "keep" else 0
        if rules["admission"] != "gradient":  # goes by our own counts: no reading is bad for it
            assert after.given_window <= max(least, before.given_window)
            assert after.given_cap <= max(least, before.given_cap)
        assert (after.given_grant or 0) <= (before.given_grant or 0)
        before = after


GOOD: dict = {
    "running": 5,
    "waiting": 0,
    "kv_usage": 0.1,
    "output_token_s": 0.01,
    "preemptions_total": None,
    "work_total": None,
    "started_at_s": None,
    "max_requests": None,
    "kv_tokens": None,
    "down": False,
    "error": "",
    "age_s": 0.0,
}


@given(history=HISTORIES, **RULES)
def test_the_first_good_reading_opens_every_law_and_eighty_open_it_wide(history, **rules):
    backend = controller(**rules)
    for page, own, passed_s in history:
        feel(backend, page, own, passed_s)
    busy = OwnCounts(pending=1, in_flight=64, blocked=True, streaming=63, answered=5, answer_ms=500)

    limits = [feel(backend, GOOD, busy, 1.0).limit() for _ in range(80)]

    assert min(limits[0].window, limits[0].cap) >= 1
    assert limits[0].grant is None or limits[0].grant == 3
    full = backend.state.rule_cap
    assert limits[-1].cap >= min(full, 20)
    assert limits[-1].window >= min(full, 20)
    assert not limits[-1].down


@given(history=HISTORIES, own=OWN, **{**RULES, "stale": st.sampled_from(["keep", "open"])})
def test_only_the_setting_closed_keeps_a_gate_shut_without_readings(history, own, **rules):
    backend = controller(**rules)
    for page, counts, passed_s in history:
        feel(backend, page, counts, passed_s)

    limits = [feel(backend, {**GOOD, "error": "timeout"}, own, 1.0).limit() for _ in range(12)]

    assert min(limits[-1].window, limits[-1].cap) >= 1
    assert limits[-1].grant is None


@pytest.mark.parametrize("admission", [name for name in sorted(LAWS) if LAWS[name].reads])
def test_the_setting_closed_shuts_every_law_that_goes_by_readings(admission):
    backend = controller(admission=admission, stale="closed", tpot=None, counts_sent=True, learns=False)
    feel(backend, GOOD, None, 1.0)

    limits = [feel(backend, {**GOOD, "error": "timeout"}, None, 1.0).limit() for _ in range(12)]

    assert min(limits[8].window, limits[8].cap) >= 1
    assert min(limits[-1].window, limits[-1].cap) == 0


@given(steps=st.lists(st.tuples(PAGES, OWN), max_size=12))
def test_no_failed_page_moves_the_gradient_law(steps):
    read, missing = (Controller(replace(POOL, admission="gradient")) for _ in range(2))
    for page, own in steps:
        felt = feel(read, {**page, "error": "timeout"}, own, 1.0)
        unfelt = missing.fails("none", own)

        assert felt.limit().cap == unfelt.limit().cap
