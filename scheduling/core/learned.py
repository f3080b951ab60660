"""What an engine teaches of itself: what it takes, what its memory holds, what it was seen to do."""

from __future__ import annotations

from dataclasses import replace

from scheduling.core.backend_state import BackendState, Step

MAX_CAP = 4096  # requests in flight: more than one engine is ever given, and a bound to a wild word of it
KV_FILL_LEAST = 600  # permille; below it memory is given away for nothing
KV_FILL_CUT = 50  # permille, after a reading that shows preemptions
KV_FILL_STEP = 5  # permille back, after one that shows none
ROOMY_KV = 0.95  # a fuller KV memory, not the engine, decides how many run


def is_read(state: BackendState, step: Step) -> bool:
    """Whether there is a good reading that is not too old. Never (0) is too long ago in any case."""
    return step.now_s - state.read_at_s <= step.stale_after_s


def full_cap(state: BackendState, step: Step) -> int:
    """The most requests in flight that any law may give, 1..4096.

    Where the rule says so, what the engine says of itself; until it was
    heard, the rule's number. Law ``first_token_window`` needs no number while
    it is read: the window keeps the engine's queue short whatever the engine
    takes, so there the bound is 4096. With a guard on token times it has the
    rule's number again, since that guard cuts from the top down.
    """
    rule = step.backend
    if not rule.learns_cap:
        return rule.max_in_flight
    if state.max_requests is not None:
        return min(MAX_CAP, state.max_requests)
    window_holds = step.pool.admission == "first_token_window" and step.pool.tpot_target_ms is None
    return MAX_CAP if window_holds and is_read(state, step) else rule.max_in_flight


def cap_source(state: BackendState, step: Step) -> str:
    """Words for a full cap that is not the rule's; empty where it is."""
    if state.rule_cap == step.backend.max_in_flight:
        return ""
    told = state.max_requests is not None
    return f"the engine takes {state.rule_cap}" if told else "the engine does not say how many it takes"


def learn(state: BackendState, step: Step, *, restarted: bool) -> BackendState:
    """The state with what this good reading teaches. What it does not say stays as it was said last.

    Call it before the reading's own counters are remembered: it compares the
    preemptions of the two. A restart forgets what was only seen.
    """
    load = step.load
    capacity = 0 if restarted else state.capacity
    if load.running is not None and (load.kv_usage or 0.0) < ROOMY_KV:
        capacity = max(capacity, min(load.running, MAX_CAP))
    return replace(
        state,
        max_requests=load.max_requests if load.max_requests is not None else state.max_requests,
        kv_tokens=load.kv_tokens if load.kv_tokens is not None else state.kv_tokens,
        capacity=capacity,
        kv_fill_permille=0 if restarted else _next_fill(state, step),
    )


def kv_limit(state: BackendState, step: Step) -> int | None:
    """Tokens of KV memory that requests in flight may reserve; None where they reserve nothing."""
    tokens = step.backend.kv_tokens or state.kv_tokens
    if not tokens or not step.pool.kv_fill_percent:
        return None
    return tokens * _fill(state, step) // 1000


def _fill(state: BackendState, step: Step) -> int:
    most = 10 * step.pool.kv_fill_percent
    return min(most, state.kv_fill_permille or most)


def _next_fill(state: BackendState, step: Step) -> int:
    """Preemptions mean that the forecast of lengths was too low: reserve less of the memory for a while."""
    fill = _fill(state, step)
    before, after = state.preemptions_total, step.load.preemptions_total
    if before is not None and after is not None and after > before:
        return min(fill, max(KV_FILL_LEAST, fill - KV_FILL_CUT))
    return fill + KV_FILL_STEP
