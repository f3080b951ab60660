"""What the machine's orders remember."""

from __future__ import annotations

from scheduling.core.fairness import Fifo
from scheduling.core.scheduler import Scheduler


def levels(machine: Scheduler):
    """Every level of names that the machine's orders know of."""
    for band in machine.bands:
        tenants = vars(band.fairness).get("_tenants")
        if tenants is not None:
            yield tenants
            yield from (tenant.inner for tenant in tenants.shares.values())


def footprint(fairness) -> int:
    """How many flows an order still remembers."""
    if isinstance(fairness, Fifo):
        return len(fairness.lanes) + len(fairness._waiting) + len(fairness._aside)
    level = fairness._tenants
    return max(0, len(level.shares) - 1) + len(level.lanes) + len(level.shares) - level.idle
