"""The connect test: is there an engine at this address, which one, and what does it tell?"""

from __future__ import annotations

from dataclasses import dataclass

from scheduling.engines.endpoint import Endpoint

DETECT = "detect"  # an endpoint's engine when nobody knows it yet


@dataclass(frozen=True, slots=True)
class ConnectStep:
    """One thing looked at. ``mend`` says what to do when it is not ok."""

    name: str
    ok: bool
    detail: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class ConnectReport:
    """What was found, in the order it was looked at.

    ``engine`` is the engine that answers, "openai" when it cannot be told,
    empty when nobody answered. ``signals`` says which figures of EngineLoad
    it tells.
    """

    steps: tuple[ConnectStep, ...]
    engine: str = ""
    models: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every step succeeded."""
        return all(step.ok for step in self.steps)


def test(endpoint: Endpoint) -> ConnectReport:
    """Look at an engine; ``endpoint.engine`` may be "detect". Never raises, takes at most 5 s."""
    return ConnectReport((ConnectStep("address", ok=False, detail=f"{endpoint.url} is not looked at"),))
