"""One backend: its row, and why its limit is what it is."""

from __future__ import annotations

from dashboard import laws, words
from dashboard.boards import backends, notice
from dashboard.boards.backends import Moment, States
from dashboard.boards.board import Board
from gateway.pictures import BackendPicture, Picture
from scheduling.core.control import BackendState
from scheduling.core.policy import BackendRule, Policy, PoolRule


def build(policy: Policy, picture: Picture, states: States, name: str, moment: Moment) -> Board:
    """The board of one backend; without it when it is gone."""
    rule = policy.backends.get(name)
    if rule is None:
        return Board()
    gate, signals = picture.gates().get(name), states.get(name)
    told = notice.alone(picture)
    pool = policy.pools.get(rule.pool, PoolRule(rule.pool))
    facts = {f"fact_{key}": text for key, text in _facts(rule, pool, gate, signals, moment).items()}
    return Board(
        text={**told["text"], **facts},
        attrs=told["attrs"],
        rows=(backends.row(rule, gate, signals, moment),),
    )


def _facts(
    rule: BackendRule,
    pool: PoolRule,
    gate: BackendPicture | None,
    signals: BackendState | None,
    moment: Moment,
) -> dict[str, str]:
    return {
        "law": str(laws.LAWS[pool.admission]),
        "reason": signals.reason if signals else "not read yet: the limits are those of the rules",
        "cap": _cap(rule, signals),
        "capacity": words.count(signals.capacity) if signals and signals.capacity else words.UNKNOWN,
        "memory": _memory(rule, pool, gate, signals),
        "circuit": _circuit(gate),
        "read": _age(signals.read_at_s if signals else 0.0, moment),
        "signal": _age(signals.signal_at_s if signals else 0.0, moment),
        "stale": f"older than {words.milliseconds(moment.stale_after_s * 1000)}: {laws.STALE[pool.stale]}",
    }


def _cap(rule: BackendRule, signals: BackendState | None) -> str:
    if not rule.learns_cap:
        return f"{rule.max_in_flight}, set here"
    if signals and signals.max_requests:
        return f"{signals.max_requests}, as the engine says"
    return f"{rule.max_in_flight} until the engine says how many it takes"


def _memory(
    rule: BackendRule, pool: PoolRule, gate: BackendPicture | None, signals: BackendState | None
) -> str:
    if not pool.kv_fill_percent:
        return "nothing is reserved: the pool's policy has that off"
    whole = rule.kv_tokens or (signals.kv_tokens if signals else None)
    if not whole:
        return "nothing is reserved: neither the engine nor its settings say how much it holds"
    source = "set here" if rule.kv_tokens else "as the engine says"
    held = f"holds {words.count(whole)} tokens, {source}"
    return f"{backends.reserved_word(gate)}; it {held}" if backends.reserved_word(gate) else held


def _circuit(gate: BackendPicture | None) -> str:
    if gate is None:
        return words.UNKNOWN
    word = backends.circuit_word(gate)
    state = "closed, starting slowly" if gate.slow_start else gate.circuit.replace("_", " ")
    return f"{state}: {word}" if word else f"{state}: requests go through"


def _age(at_s: float, moment: Moment) -> str:
    return words.milliseconds(max(0.0, moment.now_s - at_s) * 1000) + " ago" if at_s else "never"
