"""Which open backend takes the next request."""

from __future__ import annotations

from scheduling.core.admission import Gate, Gates
from scheduling.core.entry import Lane

LOAD_SCALE = 1_000_000  # load is a whole number of millionths of the cap, so that Python and Lua agree


def choose(lane: Lane, hold: int, now_ms: int, since: int = 0) -> Gate | None:
    """The open backend with the fewest pending first tokens, then the least loaded, then by name.

    The freed seat pulls the next request; nothing is pushed on old
    information. None when no backend of the lane is open, or when none has
    given ``since`` seats since its last promotion.
    """
    best: Gate | None = None
    best_key = (0, 0, "")
    for gate in lane.gates:
        if gate.is_open(hold, now_ms) and gate.since_promoted >= since:
            key = (gate.pending, gate.in_flight * LOAD_SCALE // gate.cap, gate.name)
            if best is None or key < best_key:
                best, best_key = gate, key
    return best


def route(lane: Lane, gates: Gates) -> None:
    """Give the lane its backends: those it need not avoid, unless no other remains.

    A backend that drains, or whose cap is zero, does not count as remaining.
    """
    serving = gates.serving(lane.model)
    if lane.avoid:
        usable = [gate for gate in serving if gate.cap and not gate.draining]
        others = [gate for gate in usable if gate.name not in lane.avoid]
        serving = others or serving
    lane.gates = tuple(serving)
