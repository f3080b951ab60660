"""Law ``gradient``: Netflix's Gradient2 on our own times from dispatch to first token, for comparison only.

With ``short`` the mean of the answers since the last step, ``long`` their
average over about 600 answers, and the cap in requests:

    gradient = max(0.5, min(1, 1.5 long / short))
    cap      = 0.8 cap + 0.2 (gradient cap + 4), within 20..200 and the full cap

It moves only while at least half of the cap is in use. A ``long`` of more
than twice ``short`` is let down by a twentieth a step. It reads no metrics.

Why it is only for comparison: it takes every slower answer for a queue. An
engine that batches slows each request as the batch grows, and that is useful
work; a long prompt slows its own first token. So it holds back an engine that
has no queue. Times to the first token, not whole answers: those are as long
as their text. Its authors step at each answer; here a step is a control step.
Source of the constants: Netflix/concurrency-limits, ``Gradient2Limit``.
"""

from __future__ import annotations

from dataclasses import replace

from scheduling.core.backend_state import BackendState, Step
from scheduling.core.law import Law, Ruling, cap_alone

FIRST_CAP = MIN_CAP = 20
MAX_CAP = 200
TOLERANCE = 1.5
LEAST_GRADIENT = 0.5
SMOOTHING = 0.2  # weight of the newest cap
QUEUE_REQUESTS = 4
LONG_WINDOW = 600  # answers
DRIFT, LET_DOWN = 2.0, 0.95


def _decide(state: BackendState, step: Step) -> tuple[BackendState, Ruling]:
    own = step.own
    if own is None or own.answered <= 0 or own.answer_ms <= 0:
        return state, cap_alone(state.cap, "no first tokens since the last step: cap holds")
    short_ms = own.answer_ms / own.answered
    long_ms = _long(state.answer_ms, short_ms, own.answered)
    state = replace(state, answer_ms=long_ms)
    said = f"first tokens after {short_ms:.0f} ms, in the long run {long_ms:.0f}"
    if own.in_flight < state.cap / 2:
        return state, cap_alone(state.cap, f"{said}: cap holds, half of it is free")
    gradient = max(LEAST_GRADIENT, min(1.0, TOLERANCE * long_ms / short_ms))
    cap = (1 - SMOOTHING) * state.cap + SMOOTHING * (gradient * state.cap + QUEUE_REQUESTS)
    cap = min(state.rule_cap, max(MIN_CAP, min(MAX_CAP, cap)))
    return replace(state, cap=cap), cap_alone(cap, f"{said}: gradient {gradient:.2f}")


def _long(before_ms: float | None, short_ms: float, answers: int) -> float:
    """The long average after so many answers of ``short_ms`` each, in milliseconds."""
    if before_ms is None:
        return short_ms
    kept = (1 - 2 / (LONG_WINDOW + 1)) ** answers
    long_ms = kept * before_ms + (1 - kept) * short_ms
    return long_ms * LET_DOWN if long_ms > DRIFT * short_ms else long_ms


def _first_cap(full_cap: int) -> float:
    return min(FIRST_CAP, full_cap)


GRADIENT = Law(_decide, unmetered=_decide, first_cap=_first_cap, reads=False)
