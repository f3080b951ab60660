"""Seeded bugs that the referee and the fairness bounds must notice: a test of the tests."""

from __future__ import annotations

import inspect
import textwrap

import pytest

from scheduling.core import (
    admission,
    bounds,
    circuit,
    classes,
    engine_order,
    levels,
    line,
    machine,
    own_caps,
    prefixes,
    roster,
    scheduler,
    share,
    shortcuts,
    tag_tree,
    tags,
)
from tests.unit.scheduling.fair_play import (
    Rivalry,
    pick_after_a_refund,
    seats_after_a_refund,
    serve_some,
    water_fill,
)
from tests.unit.scheduling.histories import play, play_outages, play_readings, play_siege

MUTANTS = [
    pytest.param(admission, "Gate.is_open", "self.cap - hold and", "self.cap + 1 - hold and", id="cap + 1"),
    pytest.param(admission, "Gate.is_open", ">= self.window -", "> self.window -", id="window + 1"),
    pytest.param(admission, "Gate.is_open", "- hold", "", id="reserved seats forgotten"),
    pytest.param(admission, "Gate.leave", "entry.pending", "True", id="pending miscounted"),
    pytest.param(admission, "Gate.seat", "streams or self._is_read", "True", id="answers always held"),
    pytest.param(admission, "Gate.seat", "streams or self._is_read", "streams", id="answers never held"),
    pytest.param(admission, "Gate._free", "seated_ms >= read_ms", "seated_ms < 0", id="the younger freed"),
    pytest.param(admission, "Gate._free", "at_work -= not entry.pending", "pass", id="the younger count"),
    pytest.param(admission, "Gate._free", "running - at_work", "running", id="streams counted twice"),
    pytest.param(admission, "Gate.move", "limit.running_at_s >", "1 +", id="a reading counted twice"),
    pytest.param(admission, "Gate.move", "in list(self._whole)", "in ()", id="held when the readings end"),
    pytest.param(bounds, "Bounds._refill", "if self._rule.learns_cap else most", "", id="limit unbounded"),
    pytest.param(bounds, "Bounds._follow", "<=", ">", id="older limits obeyed"),
    pytest.param(scheduler, "Scheduler.stand_in_line", "has_peers and", "", id="no dispatch on arrival"),
    pytest.param(
        scheduler,
        "Scheduler.began",
        "return self._freed(gate, now_ms, entry)",
        "return []",
        id="start is idle",
    ),
    pytest.param(machine, "Machine._pass_time", "self._give_up(entry)", "pass", id="expired ticket kept"),
    pytest.param(machine, "Machine._mark_blocked", "bands.wait_in(lane)", "True", id="blocked by nobody"),
    pytest.param(machine, "Machine._lane", "self._all_blocked = False", "pass", id="blocked and not marked"),
    pytest.param(shortcuts, "Shortcuts._seat_from", "entry.waiting = False", "pass", id="seated twice"),
    pytest.param(machine, "Machine._no_longer_waiting", "lane.avoid", "False", id="retry lanes leak"),
    pytest.param(machine, "route", "others or serving", "serving", id="failed backends not avoided"),
    pytest.param(
        scheduler,
        "Scheduler.stand_in_line",
        "lane in fairness.lanes",
        "band.waiting > 0",
        id="peers of a full tenant wait",
    ),
    pytest.param(
        roster,
        "Roster.closed",
        "line.in_flight >= most",
        "line.in_flight > most",
        id="one seat too many for a tenant",
    ),
    pytest.param(classes, "Bands.close", "self.shut.pop(tenant, None)", "pass", id="full for ever"),
    pytest.param(
        machine, "Machine._look_at_meters", "or self.bands.lends", "", id="lent seats not seen elsewhere"
    ),
    pytest.param(
        classes, "Band.next", "hold, now_ms, since, kept", "hold, now_ms, 0, kept", id="promoted without end"
    ),
    pytest.param(classes, "Bands._aged", "best is None or turn < best[0]", "True", id="aged out of turn"),
    pytest.param(
        classes, "Bands._first_moved", "not in self.shut", "not in {} and self.shut", id="front is free"
    ),
    pytest.param(
        line, "Line.stand", "not self._caps.admit(entry)", "False", id="caps of API tokens forgotten"
    ),
    pytest.param(
        line, "Line.stand", "entry, ticket.not_before_ms", "entry, now_ms + 10**6", id="parked too long"
    ),
    pytest.param(line, "Line.take_out", "self._bands.not_first(entry)", "pass", id="front leaks"),
    pytest.param(own_caps, "OwnCaps.leave", "token.going -= 1", "pass", id="caps leak"),
    pytest.param(classes, "Band.forgive", "_less(self.overdue, entry.lane)", "pass", id="overdue leaks"),
    pytest.param(tag_tree, "TagTree._charged", "start + charge", "start", id="nothing charged"),
    pytest.param(tag_tree, "TagTree._charged", "level.now = start", "pass", id="time stands still"),
    pytest.param(share, "Share.move", "(key, name, self)", "(old, name, self)", id="stale keys trusted"),
    pytest.param(
        tag_tree, "TagTree.settle", "if share.indexes", "if False", id="refunds not seen by the index"
    ),
    pytest.param(levels, "Level._begin_anew", "self.shares = {}", "pass", id="idle flows kept"),
    pytest.param(tags, "StartTags._woken", "share.key = self.now", "pass", id="idle credit"),
    pytest.param(tag_tree, "TagTree.settle", "- charge", "", id="estimate and usage both charged"),
    pytest.param(bounds, "Bounds._follow", "self._slow = 1", "pass", id="a burst after a restart"),
    pytest.param(
        bounds, "Bounds._heard", "self._slow = 2 if", "self._slow = 0 if", id="a burst after an outage"
    ),
    pytest.param(bounds, "Bounds._grow", "and not entry.heard", "", id="a request counts twice"),
    pytest.param(bounds, "Bounds._follow", "and not was_down", "", id="a probe outvotes requests"),
    pytest.param(bounds, "Bounds._look", "self.circuit.shut_until_ms", "0", id="open circuits let all in"),
    pytest.param(bounds, "Bounds.obey", "self._grant = None", "pass", id="a grant outlives its law"),
    pytest.param(circuit, "Circuit.seat", "self._trial = entry", "pass", id="all try at once"),
    pytest.param(circuit, "Circuit.leave", "self._trial = None", "pass", id="a try without end"),
    pytest.param(circuit, "Circuit.fail", "2 *", "1 *", id="the back-off stays"),
    pytest.param(circuit, "Circuit.succeed", "self.failures = 0", "pass", id="failures not in a row"),
    pytest.param(scheduler, "Scheduler.fail", "self._look_up(gate)", "pass", id="open for ever"),
    pytest.param(admission, "Gate.fits", "self._reserved_kv_tokens + ", "", id="memory given twice"),
    pytest.param(admission, "Gate.grow", "if more > 0", "if False", id="long answers reserve too little"),
    pytest.param(admission, "Gate._note_seat", "self._grant -= 1", "pass", id="grants never spent"),
    pytest.param(admission, "Gate.is_open", "self._grant == 0", "False", id="grants ignored"),
    pytest.param(admission, "Gate.is_open", "and not self._alone", "", id="a cap where none should be"),
    pytest.param(engine_order, "EngineOrder.seat", ", self._now)", ", 0)", id="orders bank credit"),
    pytest.param(engine_order, "EngineOrder.started", "self._advance()", "pass", id="orders stand still"),
    pytest.param(engine_order, "EngineOrder.finish", "self._ends = {}", "pass", id="orders never end"),
    pytest.param(prefixes, "KnownPrefixes.longest", "return length", "return 0", id="prefixes ignored"),
    pytest.param(bounds, "Bounds.obey", "pool.prefix_slack_requests", "9", id="a queue at a cache"),
    pytest.param(bounds, "Bounds._refill", "limit.capacity if limit else 0", "0", id="capacity not learnt"),
    pytest.param(tag_tree, "TagTree._charged", "price // weight", "price", id="weights ignored"),
]


def rewritten(module, path: str, old: str, new: str):
    """The function at ``path`` with a bug in it, and where it belongs."""
    owner = module
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    source = textwrap.dedent(inspect.getsource(getattr(owner, name)))
    assert old in source, f"{path} no longer says {old!r}: choose another bug"
    space: dict[str, object] = {}
    exec("from __future__ import annotations\n" + source.replace(old, new), module.__dict__, space)
    return owner, name, space[name]


def audit() -> None:
    """The properties, over a fixed set of histories."""
    for seed in range(20):
        play(seed)
        play_readings(seed)
        play_siege(seed)
        play_outages(seed)
        for wrong_by in (0, 800):
            rivalry = Rivalry(seed, wrong_by=wrong_by, steps=100)
            rivalry.welcome("late")
            assert rivalry.gap <= rivalry.bound
        assert seats_after_a_refund(seed, refunded=True) == seats_after_a_refund(seed, refunded=False)
    assert pick_after_a_refund() == "acme-0"
    costs = {"acme": [50, 900] * 10, "beta": [1000] * 15, "gamma": [10] * 200}
    weights = {"acme": 5, "beta": 1, "gamma": 2}
    charged = serve_some(costs, weights, 0.4, 2)
    fair = water_fill({name: sum(queue) for name, queue in costs.items()}, weights, sum(charged.values()))
    for name, queue in costs.items():
        assert abs(charged[name] - fair[name]) <= weights[name] * 1000 + max(queue) + 1


def test_the_sound_machine_passes_the_audit():
    audit()


@pytest.mark.parametrize(("module", "path", "old", "new"), MUTANTS)
def test_a_seeded_bug_is_noticed(module, path, old, new, monkeypatch):
    owner, name, function = rewritten(module, path, old, new)
    monkeypatch.setattr(owner, name, function)

    with pytest.raises((AssertionError, LookupError, RuntimeError)):
        audit()
