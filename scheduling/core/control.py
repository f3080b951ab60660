"""One reading of an engine and our own counts become its next limits, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass, replace

from scheduling.core.limits import EngineLoad, Limit
from scheduling.core.policy import BackendRule, PoolRule
from scheduling.core.trim import WINDOW_FLOOR, next_cap, next_window

TPOT_SMOOTHING = 0.3  # weight of the newest mean; three or four readings make the figure
START_SLACK_S = 1.0  # two readings of one process's start may differ by rounding


@dataclass(frozen=True, slots=True)
class OwnCounts:
    """What the gateways hold at one backend, summed over all of them."""

    pending: int = 0  # dispatched, still without a first token
    in_flight: int = 0
    blocked: bool = False  # work waited while this gate was shut
    streaming: int = 0  # past their first token
    answered: int = 0  # got their first token since the last step (an answer that is no stream: its end),
    answer_ms: int = 0  # and the time from dispatch to it, summed


@dataclass(frozen=True, slots=True)
class BackendState:
    """The controller's memory of one backend, and what the console shows of it.

    Times are Unix seconds. ``window`` and ``cap`` are the law's own numbers,
    with fractions; ``limit()`` is what gates obey.
    """

    backend: str
    window: float
    cap: float
    given_window: int  # what gates obey: the window less foreign traffic, or the stale rule's
    given_cap: int
    reason: str
    epoch: int = 0
    ticked_at_s: float = 0.0  # the last control step, with or without a reading
    decided_at_s: float = 0.0  # the last step that had news for the gates
    read_at_s: float = 0.0  # the last good reading; 0 when there never was one
    moved_at_s: float = 0.0  # the last time its work counter moved, or nobody was streaming
    running: int | None = None
    waiting: int | None = None
    kv_usage: float | None = None
    preemptions_total: int | None = None
    work_total: int | None = None
    output_token_s: float | None = None  # smoothed
    started_at_s: float | None = None
    error: str = ""
    rule_window: int = 0  # the rules this state grew under: when they change, it starts again
    rule_cap: int = 0
    stored_at_s: float = 0.0  # the last time a row of it went to Postgres
    given_running: int | None = None  # what gates are told; None when there are no readings (any more)

    def limit(self) -> Limit:
        """What the backend's gate obeys until the next step."""
        return Limit(
            self.backend,
            self.given_window,
            self.given_cap,
            self.reason,
            self.epoch,
            self.decided_at_s,
            self.given_running,
            self.read_at_s,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One control step: all it may look at."""

    pool: PoolRule
    backend: BackendRule
    load: EngineLoad
    own: OwnCounts | None  # None: no gateway has told its counts
    now_s: float
    stale_after_s: float
    # A new epoch is no lower than this. The controller gives Unix seconds, so that gates obey it
    # even after its memory was lost; a gateway that reads for itself gives 0, and so never outranks it.
    epoch_floor: int = 0


def next_state(before: BackendState | None, step: Step) -> BackendState:
    """The backend's state after one reading, or after a reading that failed.

    Law ``first_token_window`` (PFT-I): the gate itself keeps
    ``pending < window`` without delay; this slow loop only trims the window,
    so polling speed does not decide its stability. With w waiting in the
    engine, p pending of ours, target T:

        nothing waits, work was blocked, KV < 0.95:  window = min(128, 1.5 window + 1)
        min(w, p) > T:                               window = max(1, window - (min(w, p) - T))
        given to the gates:                          max(1, floor(window) - max(0, w - p))

    ``max(0, w - p)`` is traffic that is not ours. No step up unless the gate
    held work back, so an idle hour does not open the window. Law
    ``static_cap``: ``in flight < max_in_flight`` alone. Windows are in
    requests, 1..128. Target: "Efficient Request Queueing", TNG, 2025, part 5
    (about 3).
    """
    state = _under_rules(before, step)
    if step.backend.engine == "openai":
        return _without_metrics(_unread(state, step), step)
    if problem := _problem(state, step):
        return _without_reading(state, step, problem)
    return _with_reading(state, step)


def _under_rules(before: BackendState | None, step: Step) -> BackendState:
    """The state to go on from: fresh for a new backend, begun again where its rules changed."""
    window, cap = step.pool.window_requests, step.backend.max_in_flight
    state = before or BackendState(
        step.backend.name,
        window,
        cap,
        window,
        cap,
        "new backend",
        step.epoch_floor,
        rule_window=window,
        rule_cap=cap,
    )
    if state.rule_window != window:
        state = replace(state, window=window, rule_window=window)
    if state.rule_cap != cap:
        state = replace(state, cap=cap, rule_cap=cap)
    if step.pool.tpot_target_ms is None or step.pool.admission == "static_cap":
        state = replace(state, cap=cap)
    return replace(state, ticked_at_s=step.now_s)


def _without_metrics(state: BackendState, step: Step) -> BackendState:
    if step.pool.admission == "static_cap":
        return _decide(state, step, state.rule_cap, state.rule_cap, "static cap")
    window = min(state.rule_window, state.rule_cap)
    reason = f"no metrics: at most {window} may wait for their first token"
    return _decide(replace(state, window=state.rule_window), step, window, state.rule_cap, reason)


def _problem(state: BackendState, step: Step) -> str:
    """Why this reading cannot be used; empty when it can."""
    load = step.load
    if load.error:
        return load.error
    if load.running is None and load.waiting is None:
        return "blind: the reading says neither running nor waiting"
    if step.now_s - load.read_at_s > step.stale_after_s:
        return f"old: the reading is {step.now_s - load.read_at_s:.0f} s old"
    if not _moved(state, step) and step.now_s - state.moved_at_s > step.stale_after_s:
        return f"frozen: nothing counted for {step.now_s - state.moved_at_s:.0f} s while requests stream"
    return ""


def _moved(state: BackendState, step: Step) -> bool:
    """Whether the page shows life, or there is no work that it could show."""
    own = step.own or OwnCounts()
    counted = step.load.work_total
    return not own.streaming or counted is None or counted != state.work_total


def _without_reading(state: BackendState, step: Step, problem: str) -> BackendState:
    """No usable reading: nothing changes at first; after ``stale_after_s`` the pool's stale rule holds."""
    state = replace(state, error=problem)
    age_s = step.now_s - state.read_at_s
    if age_s > step.stale_after_s:
        state = _unread(state, step)
    if step.pool.admission == "static_cap":
        return _decide(state, step, state.rule_cap, state.rule_cap, f"static cap; {problem}")
    if state.read_at_s == 0:
        return _stale(state, step, f"never read: {problem}")
    if age_s <= step.stale_after_s:
        return _decide(state, step, state.given_window, state.given_cap, f"limits kept: {problem}")
    return _stale(state, step, f"no reading for {age_s:.0f} s: {problem}")


def _unread(state: BackendState, step: Step) -> BackendState:
    """No reading will take a request that does not stream out of a window any more: gates must hear."""
    if state.given_running is None:
        return state
    return replace(state, given_running=None, decided_at_s=step.now_s)


def _stale(state: BackendState, step: Step, why: str) -> BackendState:
    """The pool's rule for an engine that cannot be read.

    ``keep`` holds the window in force, but not above twice the queue target
    (a window that had grown on readings is not safe without them);
    ``open`` leaves only the cap; ``closed`` sends nothing more.
    """
    if step.pool.stale == "closed":
        return _decide(state, step, 0, int(state.cap), f"closed, {why}")
    if step.pool.stale == "open":
        return _decide(state, step, state.rule_cap, state.rule_cap, f"open to the cap, {why}")
    safe = max(state.rule_window, 2 * step.pool.engine_queue_target_requests)
    state = replace(state, window=min(state.window, safe))
    return _decide(state, step, _given(state.window, state), int(state.cap), f"kept, {why}")


def _with_reading(state: BackendState, step: Step) -> BackendState:
    load = step.load
    restarted = _restarted(state, load)
    if restarted:
        state = replace(
            state,
            epoch=max(state.epoch + 1, step.epoch_floor),
            window=state.rule_window,
            cap=state.rule_cap,
            output_token_s=None,
        )
    state = replace(
        _remember(state, step),
        read_at_s=load.read_at_s,
        error="",
        moved_at_s=step.now_s if _moved(state, step) else state.moved_at_s,
    )
    if step.pool.admission == "static_cap":
        return _decide(state, step, state.rule_cap, state.rule_cap, "static cap", news=True)
    if restarted:
        reason = f"engine restarted: window begins again at {state.rule_window}"
        return _decide(state, step, _given(state.window, state), int(state.cap), reason, news=True)
    state, window_reason = _trim_window(state, step)
    state, cap_reason = _trim_cap(state, step)
    foreign = max(0, (load.waiting or 0) - step.own.pending) if step.own else 0
    reasons = [window_reason, cap_reason, f"{foreign} waiting in the engine are not ours" if foreign else ""]
    given = _given(state.window - foreign, state)
    return _decide(state, step, given, int(state.cap), "; ".join(filter(None, reasons)), news=True)


def _restarted(state: BackendState, load: EngineLoad) -> bool:
    """The process began anew, or a counter ran backwards."""
    if load.started_at_s is not None and state.started_at_s is not None:
        return load.started_at_s - state.started_at_s > START_SLACK_S
    counters = (
        (state.preemptions_total, load.preemptions_total),
        (state.work_total, load.work_total),
    )
    return any(old is not None and new is not None and new < old for old, new in counters)


def _remember(state: BackendState, step: Step) -> BackendState:
    load = step.load
    mean = state.output_token_s
    if load.output_token_s is not None:
        mean = load.output_token_s if mean is None else mean + TPOT_SMOOTHING * (load.output_token_s - mean)
    return replace(
        state,
        running=load.running,
        given_running=load.running,
        waiting=load.waiting,
        kv_usage=load.kv_usage,
        preemptions_total=load.preemptions_total,
        work_total=load.work_total,
        output_token_s=mean,
        started_at_s=load.started_at_s,
    )


def _trim_window(state: BackendState, step: Step) -> tuple[BackendState, str]:
    target = step.pool.engine_queue_target_requests
    window, reason = next_window(state.window, step.load, step.own or OwnCounts(), target)
    return replace(state, window=window), reason


def _trim_cap(state: BackendState, step: Step) -> tuple[BackendState, str]:
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


def _given(window: float, state: BackendState) -> int:
    return max(WINDOW_FLOOR, min(int(window), int(state.cap)))


def _decide(
    state: BackendState, step: Step, window: int, cap: int, reason: str, *, news: bool = False
) -> BackendState:
    """Set what gates obey. Without news its time stands, so a gate keeps what it did meanwhile (a 429)."""
    changed = (window, cap) != (state.given_window, state.given_cap)
    first = state.decided_at_s == 0
    at_s = step.now_s if news or changed or first else state.decided_at_s
    return replace(state, given_window=window, given_cap=cap, reason=reason, decided_at_s=at_s)
