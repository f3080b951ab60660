"""One reading of an engine and our own counts become its next limits, each with its reason."""

from __future__ import annotations

from dataclasses import replace

from scheduling.core.backend_state import BackendState, OwnCounts, Step
from scheduling.core.law import Law, Ruling
from scheduling.core.law_first_token_window import given
from scheduling.core.laws import LAWS
from scheduling.core.learned import cap_source, full_cap, is_read, kv_limit, learn
from scheduling.core.limits import EngineLoad
from scheduling.core.sanity import sane

__all__ = ["BackendState", "OwnCounts", "Step", "next_state"]

TPOT_SMOOTHING = 0.3  # weight of the newest mean; three or four readings make the figure
LATER_S = 0.001  # between two news while the clock is behind the last one
START_SLACK_S = 1.0  # two readings of one process's start may differ by rounding
WITHOUT_METRICS = frozenset({"openai", "ollama"})  # engines that have no page to read


def next_state(before: BackendState | None, step: Step) -> BackendState:
    """The backend's state after one reading, or after a reading that failed.

    A good reading goes to the pool's admission law (``laws.LAWS``). Without
    one nothing changes for ``stale_after_s``, then the pool's stale rule
    holds. An engine without metrics is not stale: its law has a rule for it.
    """
    step = replace(step, load=sane(step.load, step.now_s))
    state = _under_rules(before, step)
    if _unmetered(step):
        return _without_metrics(state, step)
    if problem := _problem(state, step):
        return _without_reading(state, step, problem)
    return _with_reading(state, step)


def _law(step: Step) -> Law:
    return LAWS[step.pool.admission]


def _unmetered(step: Step) -> bool:
    """No reading, and none was to be had: only a response's header may tell something of such an engine."""
    load = step.load
    silent = bool(load.error) or (load.running is None and load.waiting is None)
    return step.backend.engine in WITHOUT_METRICS and silent


def _under_rules(before: BackendState | None, step: Step) -> BackendState:
    """The state to go on from: fresh for a new backend, begun again where its rules changed."""
    window, law, engine = step.pool.window_requests, step.pool.admission, step.backend.engine
    cap = step.backend.max_in_flight
    state = _not_ahead(before, step.now_s) or BackendState(
        step.backend.name, window, cap, window, cap, "new backend", step.epoch_floor, engine=engine
    )
    if state.engine != engine:
        state = replace(_unread(state, step), engine=engine, read_at_s=0.0, max_requests=None, kv_tokens=None)
    if state.law != law:
        state = replace(state, law=law, rule_cap=0, rule_window=0, signal_at_s=0.0, answer_ms=None)
    if state.rule_window != window:
        state = replace(state, window=window, rule_window=window)
    return replace(_under_cap(state, step), ticked_at_s=step.now_s)


def _not_ahead(before: BackendState | None, now_s: float) -> BackendState | None:
    """The state after a clock was set back: what was read is no younger than now, or it would stay young."""
    if before is None or before.ticked_at_s <= now_s:
        return before
    return replace(
        before,
        read_at_s=min(before.read_at_s, now_s),
        moved_at_s=min(before.moved_at_s, now_s),
        signal_at_s=min(before.signal_at_s, now_s),
        stored_at_s=min(before.stored_at_s, now_s),
    )


def _under_cap(state: BackendState, step: Step) -> BackendState:
    """The cap within the full one. It begins again where it was not cut, or nothing is to cut it."""
    full = full_cap(state, step)
    unmoved = step.pool.admission == "first_token_window" and step.pool.tpot_target_ms is None
    begins = unmoved or (full != state.rule_cap and state.cap >= state.rule_cap)
    cap = _law(step).first_cap(full) if begins else min(state.cap, full)
    return replace(state, cap=cap, rule_cap=full)


def _without_metrics(state: BackendState, step: Step) -> BackendState:
    state = replace(state, error=step.load.error)
    if _law(step).reads and is_read(state, step):
        return _decide(state, step, _held(state, "limits kept: last heard in a response"))
    state, ruling = _law(step).unmetered(_unread(state, step), step)
    return _decide(state, step, ruling)


def _problem(state: BackendState, step: Step) -> str:
    """Why this reading cannot be used; empty when it can."""
    load = step.load
    if load.error:
        return load.error
    if load.running is None and load.waiting is None:
        return "blind: the reading says neither running nor waiting"
    if not step.now_s - load.read_at_s <= step.stale_after_s:  # also of a time that is no number
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
    law, age_s = _law(step), step.now_s - state.read_at_s
    if not is_read(state, step):
        state = _unread(state, step)
    if not law.reads:
        state, ruling = law.decide(state, step)
        return _decide(state, step, replace(ruling, reason=f"{ruling.reason}; {problem}"))
    if is_read(state, step):
        return _decide(state, step, _held(state, f"limits kept: {problem}"))
    why = f"no reading for {age_s:.0f} s: {problem}" if state.read_at_s else f"never read: {problem}"
    state, ruling = _stale(state, step, why)
    return _decide(state, step, ruling)


def _held(state: BackendState, reason: str) -> Ruling:
    """What is in force, within the full cap. What was granted is not granted a second time."""
    return Ruling(
        min(state.given_window, state.rule_cap),
        min(state.given_cap, state.rule_cap),
        reason,
        None if state.given_grant is None else 0,
    )


def _unread(state: BackendState, step: Step) -> BackendState:
    """No reading will take a request that does not stream out of a window any more: gates must hear."""
    if state.given_running is None:
        return state
    return replace(state, given_running=None, decided_at_s=_news_at_s(state, step))


def _stale(state: BackendState, step: Step, why: str) -> tuple[BackendState, Ruling]:
    """The pool's rule for an engine that cannot be read, or does not say what the law goes by.

    ``keep`` holds what is in force, as far as the law finds that safe
    without readings; ``open`` leaves only the full cap; ``closed`` sends
    nothing more.
    """
    law = _law(step)
    if step.pool.stale == "closed":
        return state, Ruling(0, given(state, "").cap if law.windowed else 0, f"closed, {why}")
    if step.pool.stale == "open":
        return state, Ruling(state.rule_cap, state.rule_cap, f"open to the cap, {why}")
    state, ruling = law.kept(state, step)
    return state, replace(ruling, reason=f"{ruling.reason}, {why}")


def _with_reading(state: BackendState, step: Step) -> BackendState:
    restarted = _restarted(state, step.load)
    state = replace(
        _remember(learn(state, step, restarted=restarted), step, restarted=restarted),
        read_at_s=step.load.read_at_s,
        error="",
        moved_at_s=step.now_s if _moved(state, step) else state.moved_at_s,
    )
    if restarted:
        state = replace(
            state,
            epoch=max(state.epoch + 1, step.epoch_floor),
            window=state.rule_window,
            rule_cap=0,  # so that the cap begins again too
            answer_ms=None,
            room=0.0,
        )
    state = _under_cap(state, step)
    if restarted and _law(step).windowed:
        reason = f"engine restarted: window begins again at {state.rule_window}"
        return _decide(state, step, given(state, reason), news=True)
    state, ruling = _ruled(state, step)
    if restarted:
        ruling = replace(ruling, reason=f"engine restarted; {ruling.reason}")
    return _decide(state, step, ruling, news=True)


def _ruled(state: BackendState, step: Step) -> tuple[BackendState, Ruling]:
    """What the law says to a good reading; the stale rule, if for long none said what the law goes by."""
    law = _law(step)
    if lack := law.lacks(state, step):
        state = replace(state, error=lack)
        if step.now_s - state.signal_at_s <= step.stale_after_s:
            return state, _held(state, f"limits kept: {lack}")
        return _stale(state, step, lack)
    return law.decide(replace(state, signal_at_s=step.now_s), step)


def _restarted(state: BackendState, load: EngineLoad) -> bool:
    """The process began anew, or a counter ran backwards."""
    if load.started_at_s is not None and state.started_at_s is not None:
        return load.started_at_s - state.started_at_s > START_SLACK_S
    counters = (
        (state.preemptions_total, load.preemptions_total),
        (state.work_total, load.work_total),
    )
    return any(old is not None and new is not None and new < old for old, new in counters)


def _remember(state: BackendState, step: Step, *, restarted: bool) -> BackendState:
    """The state with the reading's numbers. Counters that it leaves out stay as they were told last."""
    load = step.load
    mean = None if restarted else state.output_token_s
    if load.output_token_s is not None:
        mean = load.output_token_s if mean is None else mean + TPOT_SMOOTHING * (load.output_token_s - mean)
    return replace(
        state,
        running=load.running,
        given_running=load.running,
        waiting=load.waiting,
        empty_readings=state.empty_readings + 1 if _starves(state, load) and not restarted else 0,
        kv_usage=load.kv_usage,
        preemptions_total=_told(load.preemptions_total, state.preemptions_total),
        work_total=_told(load.work_total, state.work_total),
        output_token_s=mean,
        started_at_s=load.started_at_s if load.started_at_s is not None else state.started_at_s,
    )


def _starves(state: BackendState, load: EngineLoad) -> bool:
    """Nothing waits in the engine, and it does not fill by itself."""
    fills = load.running is not None and state.running is not None and load.running > state.running
    return load.waiting == 0 and not fills


def _told(now: int | None, before: int | None) -> int | None:
    return before if now is None else now


def _decide(state: BackendState, step: Step, ruling: Ruling, *, news: bool = False) -> BackendState:
    """Set what gates obey. Without news its time stands, so a gate keeps what it did meanwhile (a 429)."""
    kv_tokens, down = kv_limit(state, step), step.load.down
    changed = (ruling.window, ruling.cap, kv_tokens, down, ruling.grant is None) != (
        state.given_window,
        state.given_cap,
        state.given_kv_tokens,
        state.down,
        state.given_grant is None,
    )
    first = state.decided_at_s == 0
    return replace(
        state,
        given_window=ruling.window,
        given_cap=ruling.cap,
        given_grant=ruling.grant,
        given_kv_tokens=kv_tokens,
        down=down,
        reason="; ".join(filter(None, [ruling.reason, cap_source(state, step)])),
        decided_at_s=_news_at_s(state, step) if news or changed or first else state.decided_at_s,
    )


def _news_at_s(state: BackendState, step: Step) -> float:
    """Now; after a clock was set back a little later than the last news, for gates ignore what is older."""
    return step.now_s if step.now_s >= state.decided_at_s else state.decided_at_s + LATER_S
