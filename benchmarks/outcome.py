"""What one run of the comparison found, and the ratios in it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.load.run import Figures


@dataclass(slots=True)
class Outcome:
    """Figures by scenario and gateway, one entry a round."""

    rounds: int
    seconds: float
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    idle_rss_mib: dict[str, float] = field(default_factory=dict)
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
        found = self.figures.get(scenario, {})
        pairs = zip(found.get(of, ()), found.get(to, ()), strict=False)
        ratios = [getattr(a, figure) / getattr(b, figure) for a, b in pairs if getattr(b, figure)]
        return statistics.median(ratios) if ratios else None

    def as_json(self) -> Mapping[str, Any]:
        """Medians, for the one line."""
        return {
            "benchmark": "overhead",
            "rounds": self.rounds,
            "seconds": self.seconds,
            "load_average": round(statistics.median(self.load_average), 2) if self.load_average else None,
            "versions": self.versions,
            "missing": self.missing,
            "idle_rss_mib": {name: round(mib, 1) for name, mib in self.idle_rss_mib.items()},
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
