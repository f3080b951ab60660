"""Plots as inline SVG: lines, distributions and bars that need no script and no style from outside.

Each is a string that stands in a page or in a file of its own, in light and
dark. The colours can be told apart with any colour vision (Okabe and Ito);
lines differ in their dashes too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from scheduling.plots import Box, Point, Scale, powers_of_ten, round_steps, round_up, thin

WIDTH, HEIGHT = 480.0, 290.0
TOP = 46.0
BOX = Box(WIDTH, HEIGHT, left=52.0, right=14.0, top=TOP, bottom=44.0)
LETTER = 7.0  # about how wide a letter is at the size of the legend
ROW = 19.0  # of the legend, and of bars
BETWEEN = 8.0  # groups of bars
LOG_FROM = 50.0  # values that differ by more than this factor go on an axis by logarithm
QUANTILES = 200  # points of a distribution
COLOURS = 8
STYLE = """<style>
.plot{font:13px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;max-width:100%;height:auto}
.plot{background:#fff}
.plot text{fill:#444b55}.plot .head{fill:#1b1f24;font-size:15px;font-weight:650}
.plot .grid{stroke:#dfe3e8;stroke-width:1}.plot .axis{stroke:#8a929e;stroke-width:1}
.plot .mark{stroke:#5a6370;stroke-width:1;stroke-dasharray:2 3}
.plot .band{fill:#8a929e;fill-opacity:.1}
.plot .line{fill:none;stroke-width:2;stroke-linejoin:round}
.plot .s0{--s:#0072b2}.plot .s1{--s:#d55e00}.plot .s2{--s:#008a66}.plot .s3{--s:#b5588f}
.plot .s4{--s:#a67c00}.plot .s5{--s:#2f9fd8}.plot .s6{--s:#1b1f24}.plot .s7{--s:#8a929e}
.plot .line{stroke:var(--s)}.plot .bar{fill:var(--s)}
.plot .s2.line,.plot .s5.line{stroke-dasharray:7 3}.plot .s3.line,.plot .s6.line{stroke-dasharray:2 3}
@media(prefers-color-scheme:dark){.plot{background:#1c1f25}
.plot text{fill:#b9c1cc}.plot .head{fill:#e7eaee}.plot .grid{stroke:#343943}.plot .axis{stroke:#7b8492}
.plot .mark{stroke:#a3acb9}
.plot .s0{--s:#56b4e9}.plot .s1{--s:#ff9a4d}.plot .s2{--s:#33c79c}.plot .s3{--s:#e29ac4}
.plot .s4{--s:#f0e442}.plot .s5{--s:#4a94cf}.plot .s6{--s:#ffffff}.plot .s7{--s:#8a929e}}
</style>"""


@dataclass(frozen=True, slots=True)
class Axes:
    """What the axes are called, with their units. ``highest`` ends the upright one; None: where values do."""

    x: str
    y: str
    highest: float | None = None


@dataclass(frozen=True, slots=True)
class Notes:
    """What stands behind the lines: upright marks with a word each, and a shaded span of x."""

    marks: Sequence[tuple[float, str]] = ()
    shaded: tuple[float, float] | None = None


def lines(title: str, axes: Axes, series: Mapping[str, Sequence[Point]], notes: Notes | None = None) -> str:
    """One line a series, through points of (x, y); y None is a gap.

    Raises ValueError when no series has a point with a value.
    """
    known = [(at, value) for points in series.values() for at, value in points if value is not None]
    if not known:
        raise ValueError(f"{title}: there is nothing to draw")
    first, last = min(at for at, _ in known), max(at for at, _ in known)
    highest = axes.highest or round_up(max(value for _, value in known)) or 1.0
    scale = Scale(BOX, first, max(last, first + 1e-9), highest)
    paths = [scale.line(thin(points)) for points in series.values()]
    return _plot(title, axes, scale, [*_noted(scale, notes or Notes()), *_drawn(series, paths)], list(series))


def cdf(title: str, axis: str, samples: Mapping[str, Sequence[float]]) -> str:
    """For each value on the axis, which part of the samples is not above it, in per cent.

    By logarithm when they differ much. Raises ValueError without samples.
    """
    known = {name: sorted(values) for name, values in samples.items() if values}
    if not known:
        raise ValueError(f"{title}: there is nothing to draw")
    low = min(values[0] for values in known.values())
    high = max(values[-1] for values in known.values())
    log_x = low > 0 and high / low > LOG_FROM
    first = low if log_x else 0.0
    scale = Scale(BOX, first, high if high > first else first + 1.0, 100.0, log_x=log_x)
    axes = Axes(f"{axis}, by logarithm" if log_x else axis, "% of requests", 100.0)
    paths = [scale.line(_quantiles(values)) for values in known.values()]
    return _plot(title, axes, scale, _drawn(known, paths), list(known))


def bars(
    title: str,
    axis: str,
    groups: Mapping[str, Mapping[str, float]],
    figure: Callable[[float], str] | None = None,
) -> str:
    """Lying bars from 0: one group a name, one bar a series of the group, each with its figure.

    ``axis`` says what is measured, with its unit. Raises ValueError without a value.
    """
    series = list(dict.fromkeys(name for group in groups.values() for name in group))
    if not series:
        raise ValueError(f"{title}: there is nothing to draw")
    write = figure or number
    most = max(value for group in groups.values() for value in group.values())
    left = 16 + LETTER * max(map(len, groups))
    height = TOP + sum(ROW * len(group) + BETWEEN for group in groups.values())
    box = Box(WIDTH, height, left, 78.0, TOP, 0.0)
    scale = Scale(box, 0.0, most or 1.0, 1.0)
    parts = [_text(2, 34, axis)]
    y = TOP
    for name, group in groups.items():
        parts.append(_text(left - 8, y + ROW * len(group) / 2 + 3, name, anchor="end"))
        for one, value in group.items():
            wide = scale.x(value) - left
            said = escape(f"{name}, {one}: {write(value)}")
            parts.append(_bar((left, y), (wide, ROW - 4), series.index(one), said))
            parts.append(_text(left + wide + 5, y + ROW - 6, write(value)))
            y += ROW
        y += BETWEEN
    return _framed(title, box, parts, _legend(series, _square) if len(series) > 1 else [])


def number(value: float) -> str:
    """A figure as an axis has it: 0.05, 3, 1,500, 150k."""
    if value >= 100_000:
        return f"{value / 1000:,.4g}k"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _plot(title: str, axes: Axes, scale: Scale, drawn: list[str], names: list[str]) -> str:
    box = scale.box
    right, floor = box.width - box.right, box.height - box.bottom
    parts = [_text(2, 34, axes.y)]
    for value in round_steps(0, scale.highest, 4):
        y = scale.y(value)
        parts.append(f'<line class="grid" x1="{box.left}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(_text(box.left - 6, y + 4, number(value), anchor="end"))
    for value in _uprights_at(scale):
        x = scale.x(value)
        parts.append(f'<line class="axis" x1="{x}" x2="{x}" y1="{floor}" y2="{floor + 4}"/>')
        parts.append(_text(x, floor + 18, number(value), anchor="middle"))
    parts.append(f'<line class="axis" x1="{box.left}" x2="{right}" y1="{floor}" y2="{floor}"/>')
    parts.append(_text((box.left + right) / 2, floor + 36, axes.x, anchor="middle"))
    return _framed(title, box, [*parts, *drawn], _legend(names, _dash))


def _framed(title: str, box: Box, parts: Sequence[str], legend: Sequence[str]) -> str:
    """The whole: head, drawing, and the rows of the legend below it."""
    height = box.height + (ROW * len(legend) + 8 if legend else 0)
    rows = "".join(
        f'<g transform="translate(10 {box.height + 14 + ROW * place:g})">{row}</g>'
        for place, row in enumerate(legend)
    )
    return (
        f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {box.width:g} {height:g}" '
        f'width="{box.width:g}" height="{height:g}" role="img" aria-label="{escape(title)}">'
        f"{STYLE}{_text(2, 16, title, css='head')}{''.join(parts)}{rows}</svg>"
    )


def _legend(names: Sequence[str], sign: Callable[[float, int], str]) -> list[str]:
    """Rows of signs and names, as many in a row as fit."""
    rows = [""]
    x = 0.0
    for place, name in enumerate(names):
        wide = 40 + LETTER * len(name)
        if x and x + wide > WIDTH - 20:
            x = 0.0
            rows.append("")
        rows[-1] += sign(x, place) + _text(x + 28, 4, name)
        x += wide
    return rows


def _dash(x: float, place: int) -> str:
    return f'<path class="line s{place % COLOURS}" d="M{x:g} 0 h22"/>'


def _square(x: float, place: int) -> str:
    return _bar((x + 8, -6), (12, 12), place, "")


def _bar(corner: tuple[float, float], size: tuple[float, float], place: int, said: str) -> str:
    (x, y), (wide, high) = corner, size
    return (
        f'<rect class="bar s{place % COLOURS}" x="{x:g}" y="{y:g}" width="{wide:g}" height="{high:g}">'
        f"<title>{said}</title></rect>"
    )


def _drawn(names: Mapping[str, object], paths: Sequence[str]) -> list[str]:
    return [
        f'<path class="line s{place % COLOURS}" d="{path}"><title>{escape(name)}</title></path>'
        for place, (name, path) in enumerate(zip(names, paths, strict=True))
    ]


def _noted(scale: Scale, notes: Notes) -> list[str]:
    box = scale.box
    parts: list[str] = []
    if notes.shaded:
        begin, end = (scale.x(min(max(at, scale.first), scale.last)) for at in notes.shaded)
        high = box.height - box.bottom - box.top
        parts.append(
            f'<rect class="band" x="{begin}" y="{box.top:g}" width="{end - begin:g}" height="{high:g}"/>'
        )
    for at, word in notes.marks:
        x = scale.x(at)
        near_end = x + LETTER * len(word) > box.width - box.right
        anchor, shift = ("end", -4) if near_end else ("start", 4)
        floor = box.height - box.bottom
        parts.append(f'<line class="mark" x1="{x}" x2="{x}" y1="{box.top:g}" y2="{floor}"/>')
        parts.append(_text(x + shift, box.top + 15, word, anchor=anchor))
    return parts


def _uprights_at(scale: Scale) -> list[float]:
    if scale.log_x:
        return powers_of_ten(scale.first, scale.last)
    return round_steps(scale.first, scale.last, 6)


def _quantiles(values: Sequence[float]) -> list[Point]:
    """Part by part: (value, per cent of all that are not above it)."""
    count = len(values)
    places = sorted({min(count - 1, round(n * (count - 1) / QUANTILES)) for n in range(QUANTILES + 1)})
    return [(values[place], 100 * (place + 1) / count) for place in places]


def _text(x: float, y: float, text: str, *, anchor: str = "start", css: str = "") -> str:
    attributes = (f' text-anchor="{anchor}"' if anchor != "start" else "") + (
        f' class="{css}"' if css else ""
    )
    return f'<text x="{x:.4g}" y="{y:.4g}"{attributes}>{escape(text)}</text>'
