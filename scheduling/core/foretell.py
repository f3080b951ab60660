"""For about how long a request would wait that came now."""

from __future__ import annotations

from collections.abc import Iterable

from scheduling.core.admission import Gate
from scheduling.core.machine import Machine
from scheduling.core.view import Foretold, Newcomer


def foretell(machine: Machine, newcomer: Newcomer, gates: Iterable[Gate], now_ms: int) -> Foretold:
    """Its place and wait, from the tables and the pace that waiting requests are told theirs from.

    ``gates`` are those that it could go to. Quotas are not looked at: what
    they would let it wait for depends on its length.
    """
    bands, error_ms = machine.bands, machine.pace.error_ms
    paused = bands.paused or newcomer.tenant in machine.roster.paused
    ahead = bands.newcomer(newcomer.priority_class, newcomer.tenant, now_ms)
    hold = bands.held_back_for(newcomer.priority_class)
    if not ahead and not paused and any(gate.is_open(hold, now_ms) for gate in gates):
        return Foretold(0, 0, error_ms)
    position = 1 + ahead
    return Foretold(position, None if paused else machine.pace.wait_ms(position, now_ms), error_ms)
