"""Experiments made short: the same shapes on an engine with few seats."""

from __future__ import annotations

import re
from dataclasses import replace

from scheduling.simulation.experiments import pretend
from scheduling.simulation.experiments.conduct import conduct
from scheduling.simulation.experiments.experiment import Report, Row, Table
from scheduling.simulation.experiments.registry import EXPERIMENTS
from scheduling.simulation.experiments.trial import Size

SHORT = Size(seconds=30, seats=32, prompt_tokens=64, completion_tokens=40, quiet_per_s=4.0)
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


def run(name: str, **changes) -> Report:
    return conduct(EXPERIMENTS[name], replace(SHORT, **changes), [1], pretend.play, lambda _: None)


def numbers(text: str) -> list[str]:
    return NUMBER.findall(text)


def with_figures(table: Table, changes: dict[str, dict[str, float]]) -> Table:
    """The same table with some figures replaced, by label and key."""
    rows = [Row(row.label, {**row.values, **changes.get(row.label, {})}) for row in table.rows]
    return Table(table.columns, rows)
