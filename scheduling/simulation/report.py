"""A result as a small table for people, or as one JSON object for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from scheduling.simulation.metrics import Result, TenantResult

HEADER = (
    f"{'tenant':<12} {'weight':>6} {'requests':>8} {'share':>7} {'entitled':>8} "
    f"{'wait p50':>9} {'wait p99':>9} {'TTFT p99':>9}"
)


def as_table(result: Result) -> str:
    """Lines for a terminal; times in seconds, shares of cost tokens in per cent."""
    totals = (
        f"Jain {result.jain:.4f}   {result.tokens_per_s:.0f} tokens/s   "
        f"engine queue max {result.engine_queue_max}"
    )
    return "\n".join(
        [
            f"{result.workload}: fairness {result.fairness}, admission {result.admission}",
            "",
            HEADER,
            *map(_row, result.tenants),
            "",
            totals,
        ]
    )


def as_json(result: Result, seed: int) -> str:
    """One object on one line, figures rounded to what they are worth."""
    return json.dumps({"seed": seed, **_rounded(asdict(result))})


def _row(tenant: TenantResult) -> str:
    return (
        f"{tenant.tenant:<12} {tenant.weight:>6} {tenant.requests:>8} {tenant.share:>6.1%} "
        f"{tenant.entitled:>7.1%} {tenant.wait_p50_s:>8.2f}s {tenant.wait_p99_s:>8.2f}s "
        f"{tenant.ttft_p99_s:>8.2f}s"
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(inner) for inner in value]
    return value
