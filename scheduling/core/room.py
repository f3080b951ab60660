"""How many requests in flight an engine takes before its own queue is longer than its target."""

from __future__ import annotations

from scheduling.core.backend_state import OwnCounts, Step
from scheduling.core.law import says_idle

CUT_MOST = 0.8  # one reading may catch an engine between two batches: it takes away at most a fifth
GROWTH_PART = 8  # one part in so many more than it was seen to run, where that is more than the target


def next_room(room: float, step: Step) -> float:
    """Requests in flight, at least 1; 0 while nothing was learnt.

    The window cannot see an answer that does not stream begin, and a window
    that had grown for many short prompts is too wide once all seats are
    taken. With r of ours running, w waiting, f in flight, target T:

        w > T:                   room = max(r + T, 0.8 min(room, f))
        w = 0, work was blocked: room = r + max(T, r / 8), if that is more; if f filled it, room + 1 at least

    So it follows what the engine is seen to run, and holds T more. A queue of
    which nothing is said makes no room. It is
    only learnt when a queue was too long: until then the window is enough.
    """
    own, load, target = step.own or OwnCounts(), step.load, step.pool.engine_queue_target_requests
    waiting, running = load.waiting or 0, load.running or 0
    ours = max(1, running - max(0, running + waiting - own.in_flight))
    if waiting > target and own.in_flight:
        held = min(room or own.in_flight, own.in_flight)
        return max(ours + target, CUT_MOST * held)
    if not room or load.waiting != 0 or not own.blocked or says_idle(load, own):
        return room
    least = room + 1 if is_full(room, own) else room
    return max(least, ours + max(target, ours / GROWTH_PART))


def is_full(room: float, own: OwnCounts) -> bool:
    """Whether it was the room that held work back."""
    return 0 < int(room) <= own.in_flight
