"""Which open backend takes the next request."""

from __future__ import annotations

from collections.abc import Container

from scheduling.core.admission import Gate
from scheduling.core.entry import Entry, Lane
from scheduling.core.gates import Gates

LOAD_SCALE = 1_000_000  # load is a whole number of millionths of the capacity, so that Python and Lua agree

Load = tuple[int, int, str]


def choose(lane: Lane, hold: int, now_ms: int, since: int, kept: Container[Gate]) -> Gate | None:
    """The open backend with the fewest pending first tokens, then the least loaded, then by name.

    The freed seat pulls the next request; nothing is pushed on old
    information. None when no backend of the lane is open, or when none has
    given ``since`` seats since its last promotion. Who is ``kept`` waits for
    a request that needs more memory.
    """
    gates = lane.gates
    if len(gates) == 1:
        (gate,) = gates
        fits = gate.is_open(hold, now_ms) and gate.since_promoted >= since and not (kept and gate in kept)
        return gate if fits else None
    best: Gate | None = None
    best_key = (0, 0, "")
    for gate in gates:
        if gate.is_open(hold, now_ms) and gate.since_promoted >= since and not (kept and gate in kept):
            key = (gate.pending, gate.in_flight * LOAD_SCALE // (gate.learnt or gate.cap or 1), gate.name)
            if best is None or key < best_key:
                best, best_key = gate, key
    return best


def choose_for(entry: Entry, hold: int, now_ms: int, since: int, kept: Container[Gate]) -> Gate | None:
    """The same for one ticket: only where its memory is, and first where the head of its prompt is known.

    A prefix counts among backends that owe at most ``slack_requests`` first
    tokens more than the one that owes least: a cache must not make a queue.
    Source: "Preble", Srivatsa et al., 2024, weighs load against the longest
    known prefix in the same way.
    """
    fitting = [
        gate
        for gate in entry.lane.gates
        if gate.is_open(hold, now_ms)
        and gate.since_promoted >= since
        and gate not in kept
        and gate.fits(entry)
    ]
    if not fitting:
        return None
    prefixes, slack = entry.ticket.prefixes, fitting[0].slack_requests
    if not prefixes or slack is None:
        return min(fitting, key=_load)
    most = min(gate.pending for gate in fitting) + slack
    near = [gate for gate in fitting if gate.pending <= most]
    return min(near, key=lambda gate: (-gate.prefixes.longest(prefixes), _load(gate)))


def _load(gate: Gate) -> Load:
    return (gate.pending, gate.in_flight * LOAD_SCALE // (gate.learnt or gate.cap or 1), gate.name)


def route(lane: Lane, gates: Gates) -> None:
    """Give the lane its backends: those it need not avoid, unless no other remains.

    A backend that drains, whose cap is zero or whose circuit is not closed
    does not count as remaining.
    """
    serving = gates.serving(lane.model)
    if lane.avoid:
        others = [gate for gate in serving if gate.remains and gate.name not in lane.avoid]
        serving = others or serving
    lane.gates = tuple(serving)
