"""Law ``tpot_target``: the article's other rule, keep the time per output token below a target.

Additive increase, multiplicative decrease on the cap of requests in flight:

    smoothed mean > target:      cap = max(1, 0.9 cap)
    else, if work was blocked:   cap = min(full cap, cap + 1)

The target is the pool's, else 150 ms. A token's time does not see the
engine's queue: a full batch may be fast enough while thousands wait. Source:
"Efficient Request Queueing", TNG, 2025, part 5.
"""

from __future__ import annotations

from dataclasses import replace

from scheduling.core.backend_state import BackendState, OwnCounts, Step
from scheduling.core.law import Law, Ruling, cap_alone, says_idle
from scheduling.core.trim import next_cap

DEFAULT_TARGET_MS = 150


def _decide(state: BackendState, step: Step) -> tuple[BackendState, Ruling]:
    if step.load.output_token_s is None or state.output_token_s is None:
        return state, cap_alone(state.cap, "no tokens since the last reading: cap holds")
    own = step.own or OwnCounts()
    target_ms = step.pool.tpot_target_ms or DEFAULT_TARGET_MS
    mean_ms = state.output_token_s * 1000
    cap, reason = next_cap(
        state.cap,
        state.rule_cap,
        mean_ms=mean_ms,
        target_ms=target_ms,
        blocked=own.blocked and not says_idle(step.load, own),
    )
    state = replace(state, cap=cap)
    return state, cap_alone(cap, reason or f"{mean_ms:.0f} ms per token, target {target_ms}: cap holds")


def _lacks(_state: BackendState, step: Step) -> str:
    if step.load.output_token_s is None and step.own and step.own.streaming:
        return "blind: no time per output token while requests stream"
    return ""


TPOT_TARGET = Law(_decide, lacks=_lacks)
