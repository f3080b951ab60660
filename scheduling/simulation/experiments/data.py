"""A report for programs: one JSON object on one line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from scheduling.simulation.experiments.experiment import Curves, Report, Row

DIGITS = 4  # behind the point: what the figures are worth


def as_json(report: Report) -> str:
    """Figures as numbers: medians over the seeds, then each seed's own."""
    experiment = report.experiment
    whole: dict[str, Any] = {
        "experiment": experiment.name,
        "part": experiment.part,
        "live": report.live,
        "seconds": report.size.seconds,
        "time_scale": report.size.time_scale,
        "sentence": report.finding.sentence,
        "shown": report.finding.shown,
        "failed": report.failed,
        "rows": _rows(report.table.rows),
        "seeds": {seed: _rows(rows) for seed, rows in report.by_seed.items()},
    }
    if report.curves:
        whole["curves"] = _series(report.curves)
    return json.dumps(whole)


def _rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {"trial": row.label, **{key: _rounded(value) for key, value in row.values.items()}} for row in rows
    ]


def _series(curves: Curves) -> dict[str, list[list[float | None]]]:
    return {name: [[_rounded(x), _rounded(y)] for x, y in points] for name, points in curves.series.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
