"""All parts of the article in one document, with figures of one run."""

from __future__ import annotations

from collections.abc import Sequence

from scheduling.simulation.experiments.experiment import Report, Table
from scheduling.simulation.experiments.text import finding, how

MARKER = "<!-- Printed by `{command}`: change the experiments, not this file. -->"
CONSOLE = "http://localhost:8000"  # where `make run` serves
TOP = """\
# The article, part by part

"Efficient Request Queueing" (TNG Technology Consulting, 2025) as experiments. Each part can be run again, in
pretend time with `manage.py experiment NAME` and on the running product with `--live`; the page of the
console is where the same is seen at work. Every figure below comes from the run that printed this page.

The engine is a model with the step times of published profiles, not a GPU: compare the trials of a table with
each other, and read its seconds as an order of magnitude.

All parts in one table, which is the article's part 7:
"""


def as_markdown(reports: Sequence[Report]) -> str:
    """The document: a table of all parts, then a section for each."""
    lines = [
        "| part | experiment | what was seen | as the article says | in the console |",
        "|---|---|---|---|---|",
        *map(_line, reports),
    ]
    return "\n".join([MARKER.format(command=command(reports)), TOP, *lines, "", *map(_section, reports)])


def command(reports: Sequence[Report]) -> str:
    """The command that prints the same."""
    first = reports[0]
    options = ["--live"] if first.live else []
    options += [f"--seed {first.seeds[0]}", f"--seeds {len(first.seeds)}", f"--seconds {first.size.seconds}"]
    return " ".join(["manage.py experiment all", *options, "--write docs/article.md"])


def _line(report: Report) -> str:
    experiment = report.experiment
    shown = "yes" if report.finding.shown else "no"
    link = f"[{experiment.name}](#{_anchor(_heading(report))})"
    console = f"[{experiment.console}]({CONSOLE}{experiment.console})"
    return f"| {experiment.part} | {link} | {report.finding.sentence} | {shown} | {console} |"


def _section(report: Report) -> str:
    experiment = report.experiment
    return "\n".join(
        [
            f"## {_heading(report)}",
            "",
            experiment.question,
            f"(`manage.py experiment {experiment.name}`; in the console: `{experiment.console}`)",
            "",
            _table(report.table),
            "",
            finding(report),
            "",
            how(report),
            "",
        ]
    )


def _heading(report: Report) -> str:
    return f"Part {report.experiment.part}: {report.experiment.title}"


def _anchor(heading: str) -> str:
    """As GitHub makes them: lower case, words and hyphens."""
    kept = "".join(letter for letter in heading.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def _table(table: Table) -> str:
    head = ["", *(column.title for column in table.columns)]
    rule = ["---", *("--:" for _ in table.columns)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *table.lines()))
