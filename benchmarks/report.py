"""The tables of one run, for people, between two marks of a Markdown file."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.bars import OURS, Verdict, judge
from benchmarks.outcome import DIRECT, Outcome
from benchmarks.scenarios import ABOUT

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
NOTHING = "-"
OWN_LOAD = 2  # processes of ours that want a core all the time: the load, and the gateway in its turn

Cell = Callable[[Outcome, str], str]


def check(path: Path) -> None:
    """Raise ValueError when a file has no place for the tables, before anything is measured."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if BEGIN not in text.partition(END)[0] or END not in text:
        raise ValueError(f"{path} has no place for the tables: it needs the lines {BEGIN} and {END}")


def write(path: Path, outcome: Outcome, command: str) -> None:
    """Put the tables between the marks. Raises ValueError when the file has none."""
    check(path)
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{tables(outcome, command)}\n{END}{after}", encoding="utf-8")


def tables(outcome: Outcome, command: str) -> str:
    """Everything the run found."""
    parts = [
        _about(outcome, command),
        _bars(judge(outcome)),
        _requests(outcome),
        _streams(outcome),
        _costs(outcome),
    ]
    parts += [_errors(outcome), _scenarios(outcome)]
    return "\n".join(part for part in parts if part)


def _about(outcome: Outcome, command: str) -> str:
    versions = ", ".join(
        f"{name} {version}" for name, version in outcome.versions.items() if OURS not in name
    )
    load = statistics.median(outcome.load_average) if outcome.load_average else 0.0
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, commit {outcome.versions.get(OURS, 'unknown')}, {_machine()}.",
        f"Command: `{command}`.",
        f"Rounds: {outcome.rounds}; a measurement: {outcome.seconds:g} s; load average: {load:.1f}.",
        f"Beside it: {versions or 'nobody'}.",
    ]
    if outcome.missing:
        lines.append(
            "Not in this run: " + "; ".join(f"{name} ({why})" for name, why in outcome.missing.items()) + "."
        )
    if load > OWN_LOAD + 1:
        lines.append(
            f"The machine had other work (about {load - OWN_LOAD:.0f} processes more wanted its cores): "
            "ratios within the run hold, times and rates do not."
        )
    return "\n".join(lines) + "\n"


def _bars(verdicts: Sequence[Verdict]) -> str:
    rows = [
        (
            verdict.bar.text,
            f"{'≥' if verdict.bar.at_least else '≤'} {_amount(verdict.bar.limit, verdict.bar.unit)}",
            NOTHING if verdict.found is None else _amount(verdict.found, verdict.bar.unit, near=1),
            NOTHING if verdict.middle is None else " to ".join(_number(each, 2) for each in verdict.middle),
            verdict.word,
        )
        for verdict in verdicts
    ]
    return _table("Bars", ("what", "bar", "measured", "half of the turns", ""), rows)


def _requests(outcome: Outcome) -> str:
    columns: dict[str, Cell] = {
        "req/s, 1 client": _figure("plain1", "rps", 0),
        "64 clients": _figure("plain64", "rps", 0),
        "1,000 clients": _figure("plain1000", "rps", 0),
        "CPU µs/request, 64": _figure("plain64", "cpu_us", 1),
        "req per CPU s, x nginx": _times("plain64", "nginx", "cpu_us"),
        "x Envoy": _times("plain64", "envoy", "cpu_us"),
        "added p50 ms at 100/s": _added("plain@100", "p50_ms"),
        "at 1,000/s": _added("plain@1000", "p50_ms"),
        "400 KB: CPU µs/request": _figure("plain400k", "cpu_us", 0),
    }
    return _by_gateway("Requests without streaming", columns, outcome)


def _streams(outcome: Outcome) -> str:
    columns: dict[str, Cell] = {
        "chunks/s, sse0_64": _figure("sse0_64", "chunks_s", 0),
        "CPU µs/chunk": _figure("sse0_64", "cpu_us_chunk", 2),
        "chunks per CPU s, x nginx": _times("sse0_64", "nginx", "cpu_us_chunk"),
        "100 streams begun a second: added first token p50 ms": _added("sse@100", "first_token_p50_ms"),
        "added chunk delay p50 ms": _added("sse@100", "delay_p50_ms"),
        "100 streams at once: added first token p50 ms": _added("sse10_100", "first_token_p50_ms"),
        "CPU µs/chunk, sse10_100": _figure("sse10_100", "cpu_us_chunk", 1),
        "1,500 streams": _figure("sse50_1500", "cpu_us_chunk", 1),
        "3,000 streams: chunks/s": _figure("sse50_3000", "chunks_s", 0),
        "trace64: CPU µs/chunk": _figure("trace64", "cpu_us_chunk", 2),
        "KiB per idle stream": _figure("idle1000", "kib_per_stream", 1),
        "MiB at rest": _at_rest("rss_mib", 0),
        "% of a core at rest": _at_rest("core_percent", 1),
    }
    return _by_gateway("Streams", columns, outcome)


def _costs(outcome: Outcome) -> str:
    pairs = (
        ("a queue: the backend takes 8 of 64", "capped", "fairlane-narrow", OURS),
        ("usage records in PostgreSQL", "records", OURS, "fairlane-no-records"),
        ("10,000 tenants instead of 16", "tenants10k", "fairlane-10k", OURS),
    )
    rows = []
    for what, scenario, with_it, without in pairs:
        if (ratio := outcome.ratio(scenario, with_it, without, "cpu_us")) is None:
            continue
        clock = outcome.ratio(scenario, with_it, without, "rps")
        cpu = [_number(outcome.median(scenario, name, "cpu_us"), 1) for name in (with_it, without)]
        rows.append((what, *cpu, _number(ratio, 2), _number(clock, 2)))
    head = ("what", "CPU µs/request with", "without", "CPU with / without", "req/s with / without")
    return _table("What parts of Fairlane cost, plain64", head, rows) if rows else ""


def _errors(outcome: Outcome) -> str:
    rows = []
    for scenario, found in outcome.figures.items():
        for name, rounds in found.items():
            if errors := sum(each.errors for each in rounds):
                said = next(each.first_error for each in rounds if each.errors)
                rows.append(
                    (scenario, name, str(errors), said.replace("|", "\\|").replace("\r\n", " ")[:160])
                )
    return (
        _table("Answers that were none", ("scenario", "gateway", "errors", "the first"), rows) if rows else ""
    )


def _scenarios(outcome: Outcome) -> str:
    rows = [(name, ABOUT[name]) for name in outcome.figures]
    return _table("Scenarios", ("name", "what"), rows)


def _figure(scenario: str, figure: str, digits: int) -> Cell:
    return lambda outcome, name: _number(outcome.median(scenario, name, figure) or None, digits)


def _times(scenario: str, other: str, figure: str) -> Cell:
    return lambda outcome, name: _number(outcome.ratio(scenario, other, name, figure), 2)


def _added(scenario: str, figure: str) -> Cell:
    def cell(outcome: Outcome, name: str) -> str:
        return NOTHING if name == DIRECT else _number(outcome.added(scenario, name, figure), 2)

    return cell


def _at_rest(figure: str, digits: int) -> Cell:
    def cell(outcome: Outcome, name: str) -> str:
        return _number(getattr(outcome.rest[name], figure), digits) if name in outcome.rest else NOTHING

    return cell


def _by_gateway(title: str, columns: dict[str, Cell], outcome: Outcome) -> str:
    names = [DIRECT, *outcome.versions]
    rows = [
        (name, *(cell(outcome, name) for cell in columns.values()))
        for name in names
        if "fairlane-" not in name
    ]
    kept = [n for n in range(len(columns) + 1) if any(row[n] != NOTHING for row in rows)]
    head = ("", *columns)
    shown = [[row[n] for n in kept] for row in rows if any(cell != NOTHING for cell in row[1:])]
    return _table(title, [head[n] for n in kept], shown) if shown else ""


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return f"### {title}\n\n" + "\n".join(lines) + "\n"


def _amount(value: float, unit: str, near: int = 0) -> str:
    """With ``near`` places where a round figure may hide on which side of a bar it lies."""
    return f"{_number(value, 2 if value < 10 else near if value < 100 else 0)} {unit}".strip()


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()
    )
    kernel = platform.release().split("-")[0]
    return f"{os.cpu_count()} x {model}, Linux {kernel}, Python {platform.python_version()}"
