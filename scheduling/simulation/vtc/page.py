"""The comparison as Markdown: on the terminal, and as docs/fairness.md with the words around it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from scheduling.simulation.vtc.compare import DEFAULT_POLICY, LONG, Bar, Compared, Row, bars, find
from scheduling.simulation.vtc.prose import (
    BARS,
    FAR,
    GATEWAY_HEAD,
    IN_ENGINE_HEAD,
    INTRODUCTION,
    METHOD,
    NEAR,
    OUTSIDE,
    SEATS_HEAD,
    WEIGHTED,
    claim,
    deviations,
    origin,
    percent,
)
from scheduling.simulation.vtc.published import FIRST_P99, NAMES
from scheduling.simulation.vtc.runs import CALM, GATEWAY
from scheduling.simulation.vtc.workloads import WORKLOADS

NONE = "-"
OWN_SEATS = "as above"
WIDTH = 110  # characters of a line of text
Cells = Sequence[str]


def tables(found: Sequence[Compared], rows: Sequence[Row]) -> str:
    """All tables, each under its heading."""
    return "\n\n".join(_sections(found, rows)) + "\n"


def document(found: Sequence[Compared], rows: Sequence[Row], *, seeds: int, traced: bool) -> str:
    """docs/fairness.md."""
    written = f"<!-- Generated: manage.py fairness --seeds {seeds} --write docs/fairness.md -->"
    parts = [written, INTRODUCTION, METHOD, _filled(origin(seeds, traced=traced)), *_sections(found, rows)]
    return "\n\n".join(parts) + "\n"


def number(value: float) -> str:
    """Three digits or so."""
    if value == int(value):
        return f"{value:,.0f}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _sections(found: Sequence[Compared], rows: Sequence[Row]) -> Iterator[str]:
    judged = list(bars(rows))
    if judged:
        yield BARS
        yield _bars(judged)
        yield _filled(claim(rows))
    if found:
        yield IN_ENGINE_HEAD
        yield _filled(deviations(found))
        yield from _outside(found)
        yield _compared(found)
    yield GATEWAY_HEAD
    for name in WORKLOADS:
        mine = [row for row in rows if row.workload == name and row.seats is None]
        if mine and name != LONG:
            yield _through(name, mine)
    if seats := [row for row in rows if row.seats is not None]:
        yield SEATS_HEAD
        yield _seats(seats, find(rows, GATEWAY, "arena", DEFAULT_POLICY))


def _bars(judged: Iterable[Bar]) -> str:
    return _table(
        ("promise of `token_fair`", "limit", "measured", "kept"),
        ((one.text, one.limit, one.measured, "yes" if one.met else "**no**") for one in judged),
    )


def _compared(found: Iterable[Compared]) -> str:
    head = (
        *("workload", "scheduler", "figure", "published", "simulated", "deviation"),
        "least, median, most of all seeds",
    )
    return _table(head, map(_compared_cells, found))


def _compared_cells(one: Compared) -> Cells:
    away = percent(one.deviation)
    if abs(one.deviation) > FAR:
        away = f"**{away}**"
    spread = ", ".join(number(value) for value in (one.low, one.middle, one.high))
    return (one.workload, one.queue, _name(one), number(one.published), number(one.same), away, spread)


def _through(name: str, rows: Sequence[Row]) -> str:
    calm = f"{FIRST_P99}, {CALM[name]}" if name in CALM else None
    weighted = "weighted" in name
    firsts = [calm] if calm else [key for key in rows[0].means if key.startswith(FIRST_P99)]
    head = ("where", "policy", "max diff", "avg diff", "tokens/s", "gap", "Jain", "Jain, 30 s")
    body = [_through_cells(row, firsts, weighted=weighted) for row in rows]
    table = _table((*head, *(f"{key}, s" for key in firsts)), body)
    return f"### {name}\n\n{_sentence(name)}\n\n{table}" + (f"\n\n{WEIGHTED}" if weighted else "")


def _through_cells(row: Row, firsts: Sequence[str], *, weighted: bool) -> Cells:
    means = row.means
    diffs = (NONE, NONE) if weighted else (number(means["max_diff"]), number(means["avg_diff"]))
    return (
        row.place,
        row.scheduler,
        *diffs,
        number(means["throughput"]),
        number(means["gap"]),
        f"{row.least_jain:.4f}",
        f"{row.least_jain_30s:.4f}",
        *(number(means[key]) for key in firsts),
    )


def _seats(rows: Sequence[Row], own: Row | None) -> str:
    shown = [*rows, own] if own else rows
    figures = ("max_diff", "avg_diff", "throughput")
    return _table(
        ("seats", "max diff", "avg diff", "tokens/s"),
        ((str(row.seats or OWN_SEATS), *(number(row.means[name]) for name in figures)) for row in shown),
    )


def _sentence(name: str) -> str:
    """What the workload is, in the words of the function that makes it."""
    make = WORKLOADS[name]
    return (make.__doc__ or "").partition("\n")[0]


def _outside(found: Iterable[Compared]) -> Iterator[str]:
    """A list of what no seed of ours comes near."""
    far = [one for one in found if abs(one.nearest) > NEAR]
    if far:
        lines = [f"* {one.workload}, {one.queue}, {_name(one)}: {percent(one.nearest)}" for one in far]
        yield f"{OUTSIDE}\n\n" + "\n".join(lines)


def _filled(text: str) -> str:
    """A paragraph in lines of the width of the others."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _name(one: Compared) -> str:
    return NAMES.get(one.figure, f"{one.figure}, s")


def _table(head: Cells, body: Iterable[Cells]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
