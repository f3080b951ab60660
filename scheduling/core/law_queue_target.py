"""Law ``queue_target``: the article's literal rule, "send while fewer than three wait in the engine".

With w waiting in the engine as the last reading said, target T:

    w < T:   the full cap is open until the next reading
    else:    nothing is sent until the next reading

What is sent between two readings is in no reading, so a whole herd goes
through an open gate: that is what the rule does, and why it is not the
default. With ``counts_sent`` what was sent since the reading counts as
waiting: at most ``max(0, T - w)`` go until the next reading, so no herd, and
no more than T requests a reading. Traffic that is not ours counts as waiting.
Source: "Efficient Request Queueing", TNG, 2025, part 5.
"""

from __future__ import annotations

from scheduling.core.backend_state import BackendState, OwnCounts, Step
from scheduling.core.law import Law, Ruling, cap_alone, says_idle


def _decide(state: BackendState, step: Step) -> tuple[BackendState, Ruling]:
    target, waiting = step.pool.engine_queue_target_requests, step.load.waiting or 0
    grant = max(0, target - waiting) if step.pool.counts_sent else None
    said = f"{waiting} wait in the engine, target {target}"
    if waiting >= target:
        return state, cap_alone(0, f"{said}: shut until the next reading", grant)
    until = "open until the next reading" if grant is None else f"{grant} may go until the next reading"
    return state, cap_alone(state.rule_cap, f"{said}: {until}", grant)


def _lacks(_state: BackendState, step: Step) -> str:
    if step.load.waiting is None:
        return "blind: the reading does not say how many wait"
    if says_idle(step.load, step.own or OwnCounts()):
        return "wrong: the engine says idle while our requests stream"
    return ""


def _kept(state: BackendState, step: Step) -> tuple[BackendState, Ruling]:
    """An open gate stays open. A shut one must not stay shut for good.

    With no more requests in flight than the target, no more than the target
    can wait: that much is safe without a reading, and shows when the engine
    is up again.
    """
    cap = state.given_cap
    if not cap or not state.signal_at_s or step.pool.counts_sent:
        cap = max(1, step.pool.engine_queue_target_requests)
    return state, cap_alone(min(cap, state.rule_cap), "kept")


QUEUE_TARGET = Law(_decide, lacks=_lacks, kept=_kept)
