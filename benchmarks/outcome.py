"""What one run of the comparison found, and the ratios in it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.load.run import Figures

DIRECT = "direct"  # no gateway: straight at the engine


@dataclass(frozen=True, slots=True)
class Rest:
    """A gateway that nobody asks."""

    rss_mib: float
    core_percent: float


@dataclass(slots=True)
class Outcome:
    """Figures by scenario and gateway, one entry for each turn: a round, or a slice of one."""

    rounds: int
    seconds: float
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    rest: dict[str, Rest] = field(default_factory=dict)
    figures: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    load_average: list[float] = field(default_factory=list)

    def add(self, scenario: str, target: str, figures: Figures) -> None:
        """One more turn."""
        self.figures.setdefault(scenario, {}).setdefault(target, []).append(figures)

    def values(self, scenario: str, target: str, figure: str) -> list[float]:
        """One a turn. None: not measured."""
        return [getattr(each, figure) for each in self.figures.get(scenario, {}).get(target, ())]

    def ratios(self, scenario: str, of: str, to: str, figure: str) -> list[float]:
        """One a turn. None: not measured, or nothing to compare with."""
        pairs = self._pairs(scenario, of, to, figure)
        return [a / b for a, b in pairs] if all(map(all, pairs)) else []

    def differences(self, scenario: str, target: str, figure: str) -> list[float]:
        """How much more than straight at the engine, one a turn. None: not measured."""
        pairs = self._pairs(scenario, target, DIRECT, figure)
        return [a - b for a, b in pairs] if all(a for a, _ in pairs) else []

    def median(self, scenario: str, target: str, figure: str) -> float | None:
        """Of ``values``."""
        return median(self.values(scenario, target, figure))

    def ratio(self, scenario: str, of: str, to: str, figure: str) -> float | None:
        """The median of ``ratios``."""
        return median(self.ratios(scenario, of, to, figure))

    def added(self, scenario: str, target: str, figure: str) -> float | None:
        """The median of ``differences``."""
        return median(self.differences(scenario, target, figure))

    def _pairs(self, scenario: str, a: str, b: str, figure: str) -> list[tuple[float, float]]:
        values = (self.values(scenario, each, figure) for each in (a, b))
        return list(zip(*values, strict=False))

    def as_json(self) -> Mapping[str, Any]:
        """Medians, for the one line."""
        return {
            "benchmark": "overhead",
            "rounds": self.rounds,
            "seconds": self.seconds,
            "load_average": round(statistics.median(self.load_average), 2) if self.load_average else None,
            "versions": self.versions,
            "missing": self.missing,
            "rest": {
                name: {"rss_mib": round(rest.rss_mib, 1), "core_percent": round(rest.core_percent, 2)}
                for name, rest in self.rest.items()
            },
            "scenarios": {
                scenario: {target: _medians(rounds) for target, rounds in found.items()}
                for scenario, found in self.figures.items()
            },
        }


def median(values: Sequence[float]) -> float | None:
    """None of none."""
    return statistics.median(values) if values else None


def _medians(rounds: list[Figures]) -> dict[str, Any]:
    rows = [asdict(each) for each in rounds]
    said: dict[str, Any] = {}
    for name, value in rows[0].items():
        if isinstance(value, str):
            said[name] = next((row[name] for row in rows if row[name]), "")
        else:
            said[name] = round(statistics.median(row[name] for row in rows), 3)
    return {name: value for name, value in said.items() if value}
