"""A run as one page with plots: it needs no network and no script, in light and dark, wide and narrow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from scheduling.plots import Point, round_up
from scheduling.simulation.plots import Axes, Notes, cdf, lines
from scheduling.simulation.record import Run
from scheduling.simulation.report import facts, largest, seconds, title
from scheduling.simulation.results import Result, TenantResult
from scheduling.simulation.scenario import Workload
from scheduling.simulation.series import OverTime

STEPS = 240  # of a plot over time
SHORTEST_WINDOW_S = 4.0
TIME = "seconds since the beginning"
STYLE = """
:root{color-scheme:light dark;--bg:#f5f6f8;--surface:#fff;--line:#d9dde3;--text:#1b1f24;--muted:#5a6370}
@media(prefers-color-scheme:dark){:root{--bg:#14161a;--surface:#1c1f25;--line:#343943;--text:#e7eaee;--muted:#a3acb9}}
*{box-sizing:border-box}
body{margin:0 auto;padding:20px 16px 40px;max-width:1120px;background:var(--bg);color:var(--text);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;
font-variant-numeric:tabular-nums}
h1{font-size:22px;line-height:1.25;margin:0 0 4px}h2{font-size:16px;margin:0 0 10px}p{margin:0 0 14px}
.muted{color:var(--muted)}
.card{background:var(--surface);border:1px solid var(--line);border-radius:6px;padding:14px;margin:0 0 14px}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:14px}
.plots .card{margin:0}.plots svg{display:block;width:100%}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th,td{padding:5px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left;padding-left:0}th{font-weight:600;color:var(--muted)}
tr:last-child td{border-bottom:0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 16px;margin:0}dt{color:var(--muted)}dd{margin:0}
@media(max-width:520px){body{padding:14px 8px}.card{padding:10px}
dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:8px}th,td{padding:5px 7px}}
"""
COLUMNS = (
    "Tenant", "Weight", "Requests", "Failed", "Share", "Due", "Line p50", "Line p99", "Line max",
    "First token p50", "First token p99",
)  # fmt: skip
CLASS_COLUMNS = ("Class", "Requests", "Line max", "First token p50", "First token p99")


def as_page(run: Run, result: Result, seed: int) -> str:
    """The whole page as HTML."""
    name = f"Simulation: {result.workload}"
    figures = "".join(f'<figure class="card">{plot}</figure>' for plot in plots(run))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(name)}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{escape(name)}</h1><p class='muted'>{escape(title(result, seed))}</p>"
        f'<section class="card"><h2>What came out</h2>{_facts(result)}</section>'
        f'<section class="card"><h2>Tenants</h2>{_tenants(result)}</section>{_classes(result)}'
        f'<section class="plots" aria-label="Plots">{figures}</section>'
        "</main></body></html>\n"
    )


def plots(run: Run) -> Iterator[str]:
    """Shares, requests in line, first tokens and engine queues, each an SVG."""
    over = OverTime(run)
    step_s = round_up(run.ended_ms / 1000 / STEPS)
    window_s = max(SHORTEST_WINDOW_S, 4 * step_s)
    ticks, notes = over.ticks_s(step_s), _notes(run.scenario.workload)
    shares = {name: _per_cent(values) for name, values in over.shares(window_s, step_s).items()}
    share_axes = Axes(TIME, f"% of cost tokens, in windows of {window_s:g} s", 100.0)
    yield lines("Share of the service", share_axes, _over(ticks, shares), notes)
    yield _queues("Requests in line", over.waiting(step_s), ticks, notes)
    if first_tokens := _first_tokens(run, over):
        yield cdf("Time to the first token", "seconds", first_tokens)
    yield _queues("Waiting inside the engines", over.in_engines(step_s), ticks, notes)


def _queues(title: str, queues: Mapping[str, Sequence[int]], ticks: Sequence[float], notes: Notes) -> str:
    most = max(max(values) for values in queues.values())
    axes = Axes(TIME, f"requests, the most in each {ticks[1]:g} s", max(4.0, round_up(most)))
    return lines(title, axes, _over(ticks, queues), notes)


def _notes(workload: Workload) -> Notes:
    marks = [
        (change.at_ms / 1000, f"{change.tenant}: weight {change.weight}")
        for change in workload.weight_changes
    ]
    marks += [(outage.from_ms / 1000, "an engine dies") for outage in workload.outages]
    marks += [(blackout.from_ms / 1000, "no metrics") for blackout in workload.blackouts]
    return Notes(marks, (workload.from_ms / 1000, workload.to_ms / 1000))


def _per_cent(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else 100 * value for value in values]


def _over(ticks: Sequence[float], series: Mapping[str, Sequence[float | None]]) -> dict[str, list[Point]]:
    return {name: list(zip(ticks, values, strict=True)) for name, values in series.items()}


def _first_tokens(run: Run, over: OverTime) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for one in run.served:
        if one.first_token_ms is not None:
            found[over.group(one.arrival.tenant)].append((one.first_token_ms - one.arrival.at_ms) / 1000)
    return {name: found[name] for name in over.names if name in found}


def _facts(result: Result) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(said)}</dd>" for name, said in facts(result))
    return f"<dl>{rows}</dl>"


def _tenants(result: Result) -> str:
    shown = largest(result)
    hidden = len(result.tenants) - len(shown)
    more = f" The {hidden:,} tenants with fewer requests are left out." if hidden else ""
    return (
        '<p class="muted">Share and due: the part of the service it got and was entitled to in the measured '
        f"time, which is shaded below. Line: time in line here.{more}</p>{_table(COLUMNS, map(_row, shown))}"
    )


def _classes(result: Result) -> str:
    if len(result.classes) < 2:
        return ""
    rows = [
        (
            one.priority_class,
            f"{one.requests:,}",
            *map(seconds, (one.wait_max_s, one.ttft_p50_s, one.ttft_p99_s)),
        )
        for one in result.classes
    ]
    return f'<section class="card"><h2>Classes</h2>{_table(CLASS_COLUMNS, rows)}</section>'


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>" for cells in rows)
    return (
        '<div class="scroll" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(tenant: TenantResult) -> tuple[str, ...]:
    return (
        tenant.tenant,
        str(tenant.weight),
        f"{tenant.requests:,}",
        f"{tenant.unserved:,}",
        f"{tenant.share:.1%}",
        f"{tenant.entitled:.1%}",
        *map(
            seconds,
            (tenant.wait_p50_s, tenant.wait_p99_s, tenant.wait_max_s, tenant.ttft_p50_s, tenant.ttft_p99_s),
        ),
    )
