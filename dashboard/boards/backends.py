"""The backends' list: gate, engine signals, and how old they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dashboard import words
from dashboard.boards import notice
from dashboard.boards.board import Board, Row, state
from gateway.pictures import BackendPicture, Picture
from scheduling.core.control import BackendState
from scheduling.core.laws import LAWS
from scheduling.core.policy import BackendRule, Policy

CIRCUIT_OPEN = "circuit open"

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
    gates = picture.gates()
    rows = tuple(
        row(rule, gates.get(name), states.get(name), moment) for name, rule in sorted(policy.backends.items())
    )
    return Board(**notice.alone(picture), rows=rows or (EMPTY,))


def row(rule: BackendRule, gate: BackendPicture | None, signals: BackendState | None, moment: Moment) -> Row:
    """One backend's row."""
    kind, word = health(rule, signals, moment, gate)
    return Row(
        id=f"b-{rule.name}",
        table=TABLE,
        template=TEMPLATE,
        fixed={
            "name": rule.name,
            "pool": rule.pool,
            "engine": rule.engine,
            "draining": rule.draining,
        },
        text={
            "state": word,
            "in_flight": words.count(gate.in_flight if gate else None),
            "cap": words.count(gate.cap if gate else None),
            "pending": words.count(gate.pending_first_token if gate else None),
            "window": words.count(_window(gate, signals)),
            "running": words.count(signals.running if signals else None),
            "waiting": words.count(signals.waiting if signals else None),
            "kv": words.percent(signals.kv_usage if signals else None),
            "tpot": words.milliseconds(_tpot_ms(signals)),
            "age": metrics_age(signals, moment),
            "reason": signals.reason if signals else "",
            "drain": drain_word(rule, gate) or circuit_word(gate),
            "cap_note": cap_word(rule, signals),
            "reserved": reserved_word(gate),
        },
        attrs={"state": state(kind)},
    )


def health(
    rule: BackendRule, signals: BackendState | None, moment: Moment, gate: BackendPicture | None = None
) -> tuple[str, str]:
    """A backend's state: its kind, and the word."""
    if rule.draining:
        return "warn", "draining"
    kind, word = _readable(signals, moment)
    if gate and gate.circuit != "closed":
        return (
            ("bad", CIRCUIT_OPEN)
            if gate.circuit == "open"
            else ("bad" if kind == "bad" else "warn", "half open")
        )
    if gate and gate.slow_start and kind == "ok":
        return "busy", "slow start"
    return kind, word


def _readable(signals: BackendState | None, moment: Moment) -> tuple[str, str]:
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


def circuit_word(gate: BackendPicture | None) -> str:
    """What becomes of a backend that requests could not reach; empty when all is well."""
    if gate is None:
        return ""
    if gate.circuit == "open":
        again = words.milliseconds(gate.retry_in_ms)
        return "left alone" if gate.retry_in_ms is None else f"one request tries in {again}"
    if gate.circuit == "half_open":
        return "one request at a time tries"
    return "one more with each answer" if gate.slow_start else ""


def cap_word(rule: BackendRule, signals: BackendState | None) -> str:
    """Where the most in flight comes from, when the engine is to say it."""
    if not rule.learns_cap:
        return ""
    return "as the engine says" if signals and signals.max_requests else "until the engine says"


def reserved_word(gate: BackendPicture | None) -> str:
    """How much of the KV memory that requests may reserve is reserved."""
    if gate is None or gate.kv_tokens is None:
        return ""
    return f"{words.count(gate.reserved_kv_tokens)} of {words.count(gate.kv_tokens)} reserved"


def _window(gate: BackendPicture | None, signals: BackendState | None) -> int | None:
    """The window, under a law that has one: all others write the cap there."""
    windowed = signals is None or signals.law not in LAWS or LAWS[signals.law].windowed
    return gate.window if gate and windowed else None


def metrics_age(signals: BackendState | None, moment: Moment) -> str:
    """How old the last good reading is, and why it is no younger."""
    if signals is None:
        return words.UNKNOWN
    age = (
        words.milliseconds(max(0.0, moment.now_s - signals.read_at_s) * 1000)
        if signals.read_at_s
        else "never read"
    )
    told = not signals.error or signals.error in signals.reason  # the row says the reason too
    return age if told else f"{age}: {signals.error}"


def _tpot_ms(signals: BackendState | None) -> float | None:
    if signals is None or signals.output_token_s is None:
        return None
    return signals.output_token_s * 1000
