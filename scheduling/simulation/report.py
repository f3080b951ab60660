"""A result as a page of text for people, or as one JSON object for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from scheduling.simulation.record import Run
from scheduling.simulation.results import ClassResult, Isolation, Result, TenantResult
from scheduling.simulation.series import OverTime

MOST_TENANTS = 20  # rows of the table
HEADER = (
    f"{'':<43} {'time in line':^22} {'first token':^15}\n"
    f"{'tenant':<12} {'weight':>6} {'requests':>8} {'failed':>6} {'share':>6} "
    f"{'due':>6} {'p50':>7} {'p99':>7} {'longest':>7} {'p50':>7} {'p99':>7}"
)
CLASS_HEADER = f"{'class':<19} {'requests':>8} {'longest in line':>37} {'p50':>7} {'p99':>7}"
WINDOWS_S = (2, 60)  # of the service over time
STEP_S = (1, 10)


def as_text(result: Result, seed: int) -> str:
    """Lines for a terminal; times in seconds, shares of cost tokens in per cent."""
    return "\n".join([*_head(result, seed), "", *_tenants(result), *_classes(result), "", *_figures(result)])


def as_json(run: Run, result: Result, seed: int) -> str:
    """One object on one line, figures rounded to what they are worth."""
    figures = {"seed": seed, **asdict(result), "service": service_over_time(run)}
    return json.dumps(_rounded(figures))


def service_over_time(run: Run) -> list[dict[str, Any]]:
    """Cost tokens a second of each tenant (the first ones, and the others together), in windows of two sizes.

    The n-th figure of a tenant is the mean over a window around n steps.
    """
    over = OverTime(run)
    return [
        {"window_s": window_s, "step_s": step_s, "tenants": over.rates(window_s, step_s)}
        for window_s, step_s in zip(WINDOWS_S, STEP_S, strict=True)
    ]


def facts(result: Result) -> list[tuple[str, str]]:
    """What there is to say about a run beside its tenants: a name and a sentence each."""
    fair = result.fair
    worst = "" if fair.jain_min_30s is None else f"; in the worst 30 s {fair.jain_min_30s:.4f}"
    said = [("Fairness", f"Jain index {fair.jain:.4f} (1 is perfect){worst}")]
    if fair.gap_between:
        one, other = fair.gap_between
        gap = f"{fair.gap_tokens:,.0f} cost tokens per weight, between {one} and {other}, while both waited"
        said.append(("Widest gap", gap))
    said += [("New weights", _converged(after_s)) for after_s in fair.convergence_s]
    if alone := result.isolation:
        said.append(("Isolation", _isolation(alone)))
    longest = max(result.tenants, key=_longest, default=None)
    return [
        *said,
        ("Throughput", f"{result.tokens_per_s:,.0f} prompt and completion tokens a second"),
        ("Idle", f"an engine had nothing to do while requests waited: {result.idle_while_queued_s:.1f} s"),
        ("Engine queue", _queue(result)),
        *_cache(result),
        ("Seats", f"{result.over_limit} dispatches over a limit"),
        ("Longest wait", f"{seconds(longest.wait_max_s)}, by {longest.tenant}" if longest else "none"),
        ("Outcomes", ", ".join(f"{name} {count:,}" for name, count in result.outcomes.items())),
    ]


def title(result: Result, seed: int) -> str:
    """One line that says what was run."""
    engines = "1 engine" if result.engines == 1 else f"{result.engines} engines"
    return (
        f"{result.workload}: {result.requests:,} requests on {engines} in {result.simulated_s:,.0f} s, "
        f"fairness {result.fairness}, admission {result.admission}, seed {seed}"
    )


def largest(result: Result) -> list[TenantResult]:
    """The tenants with most requests, by name: as many as a table can show."""
    most = sorted(result.tenants, key=_by_requests)[:MOST_TENANTS]
    return sorted(most, key=_by_name)


def _head(result: Result, seed: int) -> Iterable[str]:
    yield title(result, seed)
    yield "share and due: the part of the service it got and was entitled to, while tenants contend"


def _tenants(result: Result) -> Iterable[str]:
    yield HEADER
    yield from map(_row, largest(result))
    if len(result.tenants) > MOST_TENANTS:
        yield f"and {len(result.tenants) - MOST_TENANTS:,} more tenants with fewer requests"


def _classes(result: Result) -> Iterable[str]:
    if len(result.classes) > 1:
        yield ""
        yield CLASS_HEADER
        yield from map(_class_row, result.classes)


def _figures(result: Result) -> Iterable[str]:
    return (f"{name:<13} {sentence}" for name, sentence in facts(result))


def _row(tenant: TenantResult) -> str:
    times = (tenant.wait_p50_s, tenant.wait_p99_s, tenant.wait_max_s, tenant.ttft_p50_s, tenant.ttft_p99_s)
    return (
        f"{tenant.tenant:<12} {tenant.weight:>6} {tenant.requests:>8,} {tenant.unserved:>6,} "
        f"{tenant.share:>6.1%} {tenant.entitled:>6.1%} {' '.join(f'{seconds(time):>7}' for time in times)}"
    )


def _class_row(one: ClassResult) -> str:
    return (
        f"{one.priority_class:<19} {one.requests:>8,} {seconds(one.wait_max_s):>37} "
        f"{seconds(one.ttft_p50_s):>7} {seconds(one.ttft_p99_s):>7}"
    )


def seconds(value: float) -> str:
    """A time in three figures or so."""
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f} s"


def _queue(result: Result) -> str:
    return (
        f"mean {result.engine_queue_mean:.2f}, p99 {result.engine_queue_p99}, "
        f"max {result.engine_queue_max}; {result.preemptions:,} preemptions"
    )


def _cache(result: Result) -> list[tuple[str, str]]:
    if not result.cached_share:
        return []
    return [("Prefix cache", f"{result.cached_share:.1%} of the prompt tokens were in it")]


def _converged(after_s: float | None) -> str:
    if after_s is None:
        return "shares never came within 5 points of the new weights"
    return f"shares within 5 points of the new weights {after_s:.1f} s after the change"


def _isolation(alone: Isolation) -> str:
    return (
        f"{alone.tenant} waits {alone.factor_p50:.1f} times as long for a first token as alone (p50), and "
        f"{alone.factor_p99:.1f} times (p99; alone {seconds(alone.alone_p99_s)})"
    )


def _longest(tenant: TenantResult) -> float:
    return tenant.wait_max_s


def _by_requests(tenant: TenantResult) -> tuple[int, str]:
    return (-tenant.requests, tenant.tenant)


def _by_name(tenant: TenantResult) -> str:
    return tenant.tenant


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(inner) for inner in value]
    return value
