"""The backends' list: gate, engine signals, and how old they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dashboard import words
from dashboard.boards.board import Board, Row, state
from gateway.pictures import BackendPicture, Picture
from scheduling.core.control import BackendState
from scheduling.core.policy import BackendRule, Policy

TEMPLATE = "dashboard/partials/backend_row.html"
TABLE = "backend-rows"
EMPTY = Row(id="backend-empty", table=TABLE, template="dashboard/partials/backend_empty.html", fixed={})

States = Mapping[str, BackendState]


@dataclass(frozen=True, slots=True)
class Moment:
    """When the board is made, and from what age on a metric is stale. Seconds, Unix time."""

    now_s: float
    stale_after_s: float


def build(policy: Policy, picture: Picture, states: States, moment: Moment) -> Board:
    """All backends, by name."""
    gates = {gate.backend: gate for pool in picture.pools for gate in pool.backends}
    rows = tuple(
        row(rule, gates.get(name), states.get(name), moment) for name, rule in sorted(policy.backends.items())
    )
    return Board(rows=rows or (EMPTY,))


def row(rule: BackendRule, gate: BackendPicture | None, signals: BackendState | None, moment: Moment) -> Row:
    """One backend's row."""
    kind, word = health(rule, signals, moment)
    return Row(
        id=f"b-{rule.name}",
        table=TABLE,
        template=TEMPLATE,
        fixed={
            "name": rule.name,
            "pool": rule.pool,
            "engine": rule.engine,
            "draining": rule.draining,
            "max_in_flight": rule.max_in_flight,
        },
        text={
            "state": word,
            "in_flight": words.count(gate.in_flight if gate else None),
            "cap": words.count(gate.cap if gate else None),
            "pending": words.count(gate.pending_first_token if gate else None),
            "window": words.count(gate.window if gate else None),
            "running": words.count(signals.running if signals else None),
            "waiting": words.count(signals.waiting if signals else None),
            "kv": words.percent(signals.kv_usage if signals else None),
            "tpot": words.milliseconds(_tpot_ms(signals)),
            "age": metrics_age(signals, moment),
            "reason": signals.reason if signals else "",
            "drain": drain_word(rule, gate),
        },
        attrs={"state": state(kind)},
    )


def health(rule: BackendRule, signals: BackendState | None, moment: Moment) -> tuple[str, str]:
    """A backend's state: its kind, and the word."""
    if rule.draining:
        return "warn", "draining"
    if signals is None:
        return "quiet", "not read yet"
    if signals.error:
        return "bad", "metrics failing"
    if signals.read_at_s and moment.now_s - signals.read_at_s > moment.stale_after_s:
        return "warn", "metrics stale"
    if signals.waiting is None and signals.running is None:
        return "ok", "open, no metrics"
    return "ok", "open"


def drain_word(rule: BackendRule, gate: BackendPicture | None) -> str:
    """How far a drain has come."""
    if not rule.draining:
        return ""
    if gate is None:
        return "no gateway holds it"
    return (
        f"{words.plural(gate.in_flight, 'request')} still running"
        if gate.in_flight
        else "drained: nothing runs"
    )


def metrics_age(signals: BackendState | None, moment: Moment) -> str:
    """How old the last good reading is, and why it is no younger."""
    if signals is None:
        return words.UNKNOWN
    age = (
        words.milliseconds(max(0.0, moment.now_s - signals.read_at_s) * 1000)
        if signals.read_at_s
        else "never read"
    )
    return f"{age}: {signals.error}" if signals.error else age


def _tpot_ms(signals: BackendState | None) -> float | None:
    if signals is None or signals.output_token_s is None:
        return None
    return signals.output_token_s * 1000
