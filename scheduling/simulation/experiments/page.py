"""Reports as one page that needs nothing else: no script, no font, no address outside."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from scheduling.simulation import plots
from scheduling.simulation.experiments.experiment import Report, Table
from scheduling.simulation.experiments.text import drawn, finding, how
from scheduling.simulation.page import STYLE

OWN_STYLE = """
h2{font-size:18px}p{max-width:80ch}a{color:inherit}.seen{font-weight:600}
figure{margin:18px 0 14px}figure .plot{display:block;width:100%;max-width:600px}
.table thead th{white-space:normal;vertical-align:bottom;min-width:5em}
.table tbody th{color:inherit;font-weight:500;white-space:normal;min-width:9em}
.table thead td{border-bottom:1px solid var(--line)}.table tbody tr:last-child th{border-bottom:0}
.parts td,.parts th{text-align:left;white-space:normal;vertical-align:top}
.parts td:nth-child(2){white-space:nowrap}
@media(max-width:640px){
.parts thead{display:none}.parts tr,.parts td{display:block}.parts td{border:0;padding:0}
.parts tr{padding:0 0 12px}.parts td:first-child::before{content:"Part "}
.parts td:last-child::before{content:"As the article says: "}
}
"""


def as_html(reports: Sequence[Report]) -> str:
    """The page: all parts in a table when there are several, then a section for each."""
    title = reports[0].experiment.title if len(reports) == 1 else "The article, part by part"
    overview = _overview(reports) if len(reports) > 1 else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{OWN_STYLE}</style></head><body><main>"
        f"<h1>{escape(title)}</h1>"
        '<p class="muted">Experiments of Fairlane after "Efficient Request Queueing" '
        "(TNG Technology Consulting, 2025)</p>"
        f"{overview}{''.join(map(_section, reports))}</main></body></html>\n"
    )


def plot(report: Report) -> str:
    """The report's plot as SVG: curves, distributions, or a bar for each row."""
    experiment = report.experiment
    if curves := report.curves:
        axes = plots.Axes(curves.x_title, curves.y_title)
        return plots.lines(curves.title, axes, curves.series, plots.Notes(curves.marks))
    if report.samples:
        return plots.cdf(experiment.bars.title, "seconds", report.samples)
    bars, column = experiment.bars, report.table.column(experiment.bars.key)
    groups = {label: {column.title: value} for label, value in report.table.figures(bars.key).items()}
    return plots.bars(bars.title, column.title, groups, column.write)


def _overview(reports: Sequence[Report]) -> str:
    rows = "".join(
        f'<tr><td>{escape(report.experiment.part)}</td><td><a href="#{report.experiment.name}">'
        f"{report.experiment.name}</a></td><td>{escape(report.finding.sentence)}</td>"
        f"<td>{'yes' if report.finding.shown else 'no'}</td></tr>"
        for report in reports
    )
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("Part", "Experiment", "What was seen", "As the article says")
    )
    return (
        f'<section class="card"><div class="scroll"><table class="parts"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _section(report: Report) -> str:
    experiment = report.experiment
    return (
        f'<section class="card" id="{experiment.name}">'
        f"<h2>Part {escape(experiment.part)}: {escape(experiment.title)}</h2>"
        f'<p>{escape(experiment.question)}</p><p class="seen">{escape(finding(report))}</p>'
        f"{_table(report.table)}<figure>{plot(report)}</figure>"
        f'<p class="muted">{escape(how(report))} {escape(drawn(report))}</p></section>'
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(column.title)}</th>' for column in table.columns)
    body = "".join(_line(*cells) for cells in table.lines())
    return (
        f'<div class="scroll" tabindex="0"><table class="table"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _line(label: str, *cells: str) -> str:
    rest = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr><th scope="row">{escape(label)}</th>{rest}</tr>'
