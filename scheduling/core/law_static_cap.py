"""Law ``static_cap``: requests in flight up to the full cap, whatever the engine says."""

from __future__ import annotations

from scheduling.core.backend_state import BackendState, Step
from scheduling.core.law import Law, Ruling, cap_alone


def _decide(state: BackendState, _step: Step) -> tuple[BackendState, Ruling]:
    return state, cap_alone(state.rule_cap, "static cap")


STATIC_CAP = Law(_decide, unmetered=_decide, reads=False)
