"""What an experiment is: a question, trials that answer it, a table, a plot, and one sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from scheduling.plots import Point
from scheduling.simulation.experiments.trial import Observation, Size, Trial

NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of the table, and how it is written."""

    key: str
    title: str
    write: Callable[[float], str]

    def show(self, value: float | None) -> str:
        """The figure as text; a dash where there is none."""
        return NOTHING if value is None else self.write(value)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    label: str
    values: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Curves:
    """Curves over a common axis, name to points; marks are moments with a word each."""

    title: str
    x_title: str
    y_title: str
    series: Mapping[str, Sequence[Point]]
    marks: Sequence[tuple[float, str]] = ()


@dataclass(frozen=True, slots=True)
class Bars:
    """One bar for each row that has this figure. ``log``: they differ by orders of magnitude."""

    title: str
    key: str
    log: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen, in one sentence; ``shown`` says whether it is what the article says."""

    sentence: str
    shown: bool


class Table:
    """The rows of a run with their columns: figures by label and key, and as they are written."""

    def __init__(self, columns: Sequence[Column], rows: Sequence[Row]) -> None:
        self.columns = tuple(columns)
        self.rows = tuple(rows)
        self._by_key = {column.key: column for column in columns}
        self._by_label = {row.label: row for row in rows}

    def column(self, key: str) -> Column:
        """The column of this figure."""
        return self._by_key[key]

    def value(self, label: str, key: str) -> float:
        """One figure. Raises KeyError where there is none."""
        value = self._by_label[label].values.get(key)
        if value is None:
            raise KeyError(f"{label} has no {key}")
        return value

    def has(self, label: str, key: str) -> bool:
        """Whether there is such a figure."""
        return self._by_label[label].values.get(key) is not None

    def text(self, label: str, key: str) -> str:
        """The same as the table writes it."""
        return self._by_key[key].show(self._by_label[label].values.get(key))

    def figures(self, key: str) -> dict[str, float]:
        """One column: the rows that have this figure, by label."""
        return {row.label: value for row in self.rows if (value := row.values.get(key)) is not None}

    def lines(self) -> list[list[str]]:
        """All cells as text, the label first."""
        return [
            [row.label, *(column.show(row.values.get(column.key)) for column in self.columns)]
            for row in self.rows
        ]


@dataclass(frozen=True, slots=True)
class Experiment:
    """One part of the article as something to run.

    ``rows``, ``curves`` and ``samples`` read one observation for each of the
    trials, in their order. ``find`` reads the table alone, so it can only say
    what the table shows. The plot of a page has the curves, else the
    distribution of the samples (seconds, by trial), else the bars.
    """

    name: str
    part: str
    title: str
    question: str
    console: str  # the console page where the same is seen live
    trials: Callable[[Size, int], Sequence[Trial]]
    rows: Callable[[Sequence[Observation]], list[Row]]
    columns: tuple[Column, ...]
    bars: Bars
    find: Callable[[Table], Finding]
    curves: Callable[[Sequence[Observation]], Curves] | None = None
    samples: Callable[[Sequence[Observation]], Mapping[str, Sequence[float]]] | None = None
    engines: str = "one engine"  # in words: where the trials are played
    least_live_seconds: int = 1  # shorter trials on the product show nothing

    def played(self, size: Size, seed: int, *, live: bool) -> list[Trial]:
        """The trials that can be played in pretend time, or on the running product."""
        return [trial for trial in self.trials(size, seed) if not (live and trial.pretend_only)]

    def left_out(self, size: Size, seed: int) -> dict[str, str]:
        """The trials that the running product cannot play, each with the reason."""
        return {trial.label: trial.pretend_only for trial in self.trials(size, seed) if trial.pretend_only}


@dataclass(frozen=True, slots=True)
class Report:
    """An experiment that was run. Figures are medians over the seeds; what is drawn is of the first seed."""

    experiment: Experiment
    table: Table
    finding: Finding
    seeds: tuple[int, ...]
    size: Size
    live: bool
    curves: Curves | None
    samples: Mapping[str, Sequence[float]] | None
    by_seed: Mapping[int, tuple[Row, ...]]
    failed: int  # requests that were refused or broke: above 0 only where the product was disturbed
    left_out: Mapping[str, str]  # trials that could not be played here, each with the reason


def middle(runs: Sequence[Sequence[Row]]) -> list[Row]:
    """Row by row the median of each figure; none where a run has none."""
    return [_middle_row(same) for same in zip(*runs, strict=True)]


def _middle_row(rows: Sequence[Row]) -> Row:
    values: dict[str, float | None] = {}
    for key in rows[0].values:
        known = [value for row in rows if (value := row.values.get(key)) is not None]
        values[key] = median(known) if len(known) == len(rows) else None
    return Row(rows[0].label, values)
