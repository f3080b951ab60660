"""What one run of the comparison found, and the ratios in it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
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
    """Figures by scenario and gateway, one entry a round."""

    rounds: int
    seconds: float
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    rest: dict[str, Rest] = field(default_factory=dict)
    figures: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    load_average: list[float] = field(default_factory=list)

    def add(self, scenario: str, target: str, figures: Figures) -> None:
        """One more round."""
        self.figures.setdefault(scenario, {}).setdefault(target, []).append(figures)

    def median(self, scenario: str, target: str, figure: str) -> float | None:
        """Over the rounds. None: not measured."""
        rounds = self.figures.get(scenario, {}).get(target)
        return statistics.median(getattr(each, figure) for each in rounds) if rounds else None

    def ratio(self, scenario: str, of: str, to: str, figure: str) -> float | None:
        """The median of the rounds' ratios. None: not measured, or nothing to compare with."""
        pairs = self._pairs(scenario, of, to, figure)
        return statistics.median(a / b for a, b in pairs) if pairs and all(map(all, pairs)) else None

    def added(self, scenario: str, target: str, figure: str) -> float | None:
        """How much more than straight at the engine: the median of the rounds' differences."""
        pairs = self._pairs(scenario, target, DIRECT, figure)
        return statistics.median(a - b for a, b in pairs) if pairs and all(a for a, _ in pairs) else None

    def _pairs(self, scenario: str, a: str, b: str, figure: str) -> list[tuple[float, float]]:
        found = self.figures.get(scenario, {})
        rounds = zip(found.get(a, ()), found.get(b, ()), strict=False)
        return [(getattr(one, figure), getattr(other, figure)) for one, other in rounds]

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


def _medians(rounds: list[Figures]) -> dict[str, Any]:
    rows = [asdict(each) for each in rounds]
    said: dict[str, Any] = {}
    for name, value in rows[0].items():
        if isinstance(value, str):
            said[name] = next((row[name] for row in rows if row[name]), "")
        else:
            said[name] = round(statistics.median(row[name] for row in rows), 3)
    return {name: value for name, value in said.items() if value}
