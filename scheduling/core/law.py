"""What an admission law is: from one reading and our own counts, what gates may do until the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scheduling.core.backend_state import BackendState, OwnCounts, Step
from scheduling.core.limits import EngineLoad


@dataclass(frozen=True, slots=True)
class Ruling:
    """What gates obey, and why. ``grant``: see ``Limit``."""

    window: int
    cap: int
    reason: str
    grant: int | None = None


Decide = Callable[[BackendState, Step], tuple[BackendState, Ruling]]


def cap_alone(cap: float, reason: str, grant: int | None = None) -> Ruling:
    """The ruling of a law that has no window: a bound on requests in flight."""
    return Ruling(int(cap), int(cap), reason, grant)


def says_idle(load: EngineLoad, own: OwnCounts) -> bool:
    """Whether the page calls an engine idle while it serves us: it is wrong or late."""
    return load.running == 0 and own.streaming > 0


def _says_enough(_state: BackendState, _step: Step) -> str:
    return ""


def _all(full_cap: int) -> float:
    return full_cap


def _full_cap(state: BackendState, _step: Step) -> tuple[BackendState, Ruling]:
    return state, cap_alone(state.rule_cap, "no metrics: the full cap alone")


def _cap_in_force(state: BackendState, _step: Step) -> tuple[BackendState, Ruling]:
    return state, cap_alone(min(state.cap, state.rule_cap), "kept")


@dataclass(frozen=True, slots=True)
class Law:
    """One admission law: pure functions from a state and a step to the next state and a ruling.

    ``decide`` follows a good reading. ``lacks`` says why this reading has not
    what the law goes by; such readings count as missing. ``kept`` is what the
    stale rule ``keep`` means, and ``unmetered`` what an engine gets that has
    no metrics at all. A law that does not look at the engine (``reads``)
    decides at every step, whatever the reading. ``first_cap`` is the cap that
    it begins with, of the full one. ``windowed``: gates keep its window too.
    """

    decide: Decide
    lacks: Callable[[BackendState, Step], str] = _says_enough
    kept: Decide = _cap_in_force
    unmetered: Decide = _full_cap
    first_cap: Callable[[int], float] = _all
    reads: bool = True
    windowed: bool = False
