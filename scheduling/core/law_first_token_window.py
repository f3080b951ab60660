"""Law ``first_token_window``, the default: few of ours without a first token, whatever the engine takes.

The gate itself keeps ``pending < window`` without delay; this slow loop only
trims the window, so polling speed does not decide its stability. With w
waiting in the engine, p pending of ours, target T:

    nothing waits at two readings in a row,
        work was blocked, KV < 0.95:             window = min(128, 1.5 window + 1)
    min(w, p) > T:                               window = max(1, window - (min(w, p) - T))
    given to the gates:                          max(1, floor(window) - max(0, w - p))

``max(0, w - p)`` is traffic that is not ours. No step up unless the gate held
work back, so an idle hour does not open the window; nor where the cap did.
One reading is not enough for it: a short queue is empty for a moment whenever
several requests end together (of a real vLLM with four seats, at one reading
of twelve), and while an engine fills. Once the engine's queue was too long, the cap is what it has room
for (``next_room``). Where the pool has a
target for the time per output token, it also moves the cap (``next_cap``).
Windows are in requests, 1..128. Target: "Efficient Request Queueing", TNG,
2025, part 5 (about 3).
"""

from __future__ import annotations

from dataclasses import replace

from scheduling.core.backend_state import BackendState, OwnCounts, Step
from scheduling.core.law import Law, Ruling
from scheduling.core.room import is_full, next_room
from scheduling.core.trim import WINDOW_FLOOR, next_cap, next_window

EMPTY_READINGS = 2  # in a row, before the window grows


def _decide(state: BackendState, step: Step) -> tuple[BackendState, Ruling]:
    own = step.own or OwnCounts()
    window, window_reason = _window(state, step, own)
    room = next_room(state.room, step)
    state, cap_reason = _guarded(replace(state, window=window, room=room), step)
    foreign = max(0, (step.load.waiting or 0) - step.own.pending) if step.own else 0
    seen = f"it was seen to take {int(room)} at most" if 0 < room < state.cap else ""
    reasons = [
        window_reason,
        cap_reason,
        seen,
        f"{foreign} waiting in the engine are not ours" if foreign else "",
    ]
    return state, given(state, "; ".join(filter(None, reasons)), foreign)


def _window(state: BackendState, step: Step, own: OwnCounts) -> tuple[float, str]:
    by_window = replace(own, blocked=own.blocked and not is_full(state.room, own))
    window, reason = next_window(state.window, step.load, by_window, step.pool.engine_queue_target_requests)
    if window > state.window and state.empty_readings < EMPTY_READINGS:
        return state.window, "engine queue empty for a moment: window holds"
    return window, reason


def _guarded(state: BackendState, step: Step) -> tuple[BackendState, str]:
    target_ms = step.pool.tpot_target_ms
    if target_ms is None or state.output_token_s is None or step.load.output_token_s is None:
        return state, ""
    cap, reason = next_cap(
        state.cap,
        state.rule_cap,
        mean_ms=state.output_token_s * 1000,
        target_ms=target_ms,
        blocked=step.own is not None and step.own.blocked,
    )
    return replace(state, cap=cap), reason


def _kept(state: BackendState, step: Step) -> tuple[BackendState, Ruling]:
    # A window that had grown on readings is not safe without them.
    safe = max(state.rule_window, 2 * step.pool.engine_queue_target_requests)
    state = replace(state, window=min(state.window, safe))
    return state, given(state, "kept")


def _unmetered(state: BackendState, _step: Step) -> tuple[BackendState, Ruling]:
    window = min(state.rule_window, state.rule_cap)
    reason = f"no metrics: at most {window} may wait for their first token"
    return replace(state, window=state.rule_window), Ruling(window, state.rule_cap, reason)


def given(state: BackendState, reason: str, foreign: int = 0) -> Ruling:
    """The state's window less ``foreign`` requests, within the cap, and never shut."""
    cap = int(min(state.cap, state.room) if state.room else state.cap)
    return Ruling(max(WINDOW_FLOOR, min(int(state.window - foreign), cap)), cap, reason)


FIRST_TOKEN_WINDOW = Law(_decide, kept=_kept, unmetered=_unmetered, windowed=True)
