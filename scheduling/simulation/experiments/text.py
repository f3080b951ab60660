"""A report for a terminal: question, table, a plot of characters, and the sentence."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from math import log10

from scheduling.plots import Point
from scheduling.simulation.experiments.experiment import Bars, Curves, Report, Table

BAR, LEAST = "█", "▏"
MARKS = "abcdefghijklmnopqrstuvwxyz"  # one for each curve
WIDTH, HEIGHT = 60, 12  # of a plot, in characters
NARROW, WIDE = 60, 110  # lines are broken for terminals of this many columns


def as_text(report: Report) -> str:
    """The whole report."""
    width = min(WIDE, max(NARROW, shutil.get_terminal_size((WIDE, 24)).columns))
    experiment = report.experiment
    parts = [
        f"{experiment.title} (article, part {experiment.part})\n{_wrapped(experiment.question, width)}",
        table(report.table),
        _curves(report.curves) if report.curves else _bars(report.table, experiment.bars),
        _wrapped(finding(report), width),
        _wrapped(f"{how(report)} {drawn(report) if report.curves else ''}".strip(), width),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(shown: Table) -> str:
    """The rows under their titles; a title of several words takes several lines."""
    cells = shown.lines()
    titles = [_stacked(column.title) for column in shown.columns]
    height = max(map(len, titles))
    heads = [["", *(title[line] if line < len(title) else "" for title in titles)] for line in range(height)]
    widths = [max(len(line[n]) for line in (*heads, *cells)) for n in range(len(cells[0]))]
    rule = "-" * (sum(widths) + 2 * len(widths) - 2)
    return "\n".join(
        [*(_aligned(line, widths) for line in heads), rule, *(_aligned(line, widths) for line in cells)]
    )


def finding(report: Report) -> str:
    """The sentence, and whether it is what the article says."""
    label = "Live: " if report.live else ""
    return f"{label}{report.finding.sentence}{_doubt(report)}"


def how(report: Report) -> str:
    """What the figures are."""
    size = report.size
    seeds = f"seed {report.seeds[0]}" if len(report.seeds) == 1 else f"medians over {len(report.seeds)} seeds"
    engine = f"{report.experiment.engines} ({size.profile}, {size.seats} seats"
    if report.live:
        where = (
            f"On the running product, as its clients saw it, with {engine}, simulated at "
            f"{size.time_scale:g} x real time)"
        )
    else:
        where = f"In pretend time, {engine})"
    absent = "".join(f" Left out here: {label} ({why})." for label, why in report.left_out.items())
    return f"{where}; {size.seconds} s of arrivals a trial; {seeds}.{absent}"


def drawn(report: Report) -> str:
    """Which seed the curves are of, where there are several."""
    several = len(report.seeds) > 1 and (report.curves or report.samples)
    return f"The plot is of seed {report.seeds[0]}." if several else ""


def _doubt(report: Report) -> str:
    if report.failed:
        return f" But {report.failed} requests were refused or broke, so these figures show nothing."
    return "" if report.finding.shown else " This is not what the article says."


def _bars(shown: Table, bars: Bars) -> str:
    values = shown.figures(bars.key)
    lengths = bar_lengths(list(values.values()), log=bars.log)
    label_width = max(map(len, values), default=0)
    lines = [
        f"{label:<{label_width}}  {BAR * round(length * WIDTH) or LEAST} {shown.text(label, bars.key)}"
        for label, length in zip(values, lengths, strict=True)
    ]
    scale = ", log scale" if bars.log else ""
    return "\n".join([f"{bars.title} ({shown.column(bars.key).title}{scale})", *lines])


def bar_lengths(values: Sequence[float], *, log: bool) -> list[float]:
    """Parts of the longest bar, 0..1. On a log scale the axis begins at a tenth of the smallest."""
    top = max(values, default=0.0)
    if top <= 0:
        return [0.0 for _ in values]
    if not log:
        return [value / top for value in values]
    least = min(value for value in values if value > 0) / 10
    return [log10(value / least) / log10(top / least) if value > 0 else 0.0 for value in values]


def _curves(curves: Curves) -> str:
    series = {name: _known(points) for name, points in curves.series.items()}
    points = [point for each in series.values() for point in each]
    right, top = max(x for x, _ in points), max(y for _, y in points)
    field = [[" "] * WIDTH for _ in range(HEIGHT)]
    for mark, each in zip(MARKS, series.values(), strict=False):
        for x, y in each:
            field[HEIGHT - 1 - _cell(y, top, HEIGHT)][_cell(x, right, WIDTH)] = mark
    axis = [f"{top * (HEIGHT - n) / HEIGHT:5.0f} |{''.join(cells)}".rstrip() for n, cells in enumerate(field)]
    legend = "   ".join(
        mark if mark == name else f"{mark} = {name}" for mark, name in zip(MARKS, series, strict=False)
    )
    return "\n".join(
        [
            f"{curves.title} ({curves.y_title}): {legend}",
            *axis,
            " " * 6 + "+" + "-" * WIDTH,
            f"{f'{right:.0f} {curves.x_title}':>{WIDTH + 7}}",
            *(f"at {x:.0f} {curves.x_title}: {word}" for x, word in curves.marks),
        ]
    )


def _known(points: Sequence[Point]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if y is not None]


def _cell(value: float, most: float, cells: int) -> int:
    return min(cells - 1, int(value / most * cells)) if most else 0


def _stacked(title: str) -> list[str]:
    return textwrap.wrap(title, 12, break_long_words=False)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    text = [f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in rest)]
    return "  ".join(text).rstrip()


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
