"""How the console writes numbers, times and shares. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from scheduling.core.usage import CostRule

NBSP = "\N{NO-BREAK SPACE}"
TIMES = "\N{MULTIPLICATION SIGN}"
UNKNOWN = "\N{EM DASH}"
BATCH_TONES = {
    "validating": "quiet",
    "completed": "ok",
    "failed": "bad",
    "expired": "warn",
    "cancelling": "warn",
    "cancelled": "quiet",
}
_STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def count(value: float | None) -> str:
    """A count in at most three digits: 17, 940, 12.3 k. None is unknown, never zero."""
    if value is None:
        return UNKNOWN
    for size, letter in _STEPS:
        if abs(value) >= size * 0.9995:
            return f"{_three(value / size)}{NBSP}{letter}"
    return _three(value) if value != int(value) else str(int(value))


def _three(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}".rstrip("0").rstrip(".")


def milliseconds(value: float | None) -> str:
    """A wait or a latency: 840 ms, 3.2 s, 2 m 05 s, 1 h 04 m."""
    if value is None:
        return UNKNOWN
    if value < 1000:
        return f"{value:.0f}{NBSP}ms"
    seconds = value / 1000
    if seconds < 59.95:
        return f"{seconds:.1f}{NBSP}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{NBSP}m{NBSP}{rest:02d}{NBSP}s"
    return f"{minutes // 60}{NBSP}h{NBSP}{minutes % 60:02d}{NBSP}m"


def held(hold_s: float) -> str:
    """When the streams of an API token get their status line in line."""
    if hold_s == math.inf:
        return "status line never early"
    return f"status line after {hold_s:g}{NBSP}s" if hold_s else "status line at once"


def percent(share: float | None) -> str:
    """A share of 0..1 with one decimal."""
    return UNKNOWN if share is None else f"{share * 100:.1f}{NBSP}%"


def index(value: float | None) -> str:
    """A fairness index of 0..1 with two decimals."""
    return UNKNOWN if value is None else f"{value:.2f}"


def ago(moment: datetime | None, now: datetime) -> str:
    """A past moment relative to now, coarse: just now, 5 m ago, 3 h ago, 12 d ago."""
    if moment is None:
        return "never"
    seconds = (now - moment).total_seconds()
    return "just now" if seconds < 5 else f"{_coarse(seconds)} ago"


def until(moment: datetime | None, now: datetime) -> str:
    """A future moment relative to now, or that it is past."""
    if moment is None:
        return "never"
    seconds = (moment - now).total_seconds()
    return f"in {_coarse(seconds)}" if seconds > 0 else f"{_coarse(-seconds)} ago"


def _coarse(seconds: float) -> str:
    if seconds < 60:
        return f"{int(seconds)}{NBSP}s"
    if seconds < 3600:
        return f"{int(seconds // 60)}{NBSP}m"
    if seconds < 172_800:
        return f"{int(seconds // 3600)}{NBSP}h"
    return f"{timedelta(seconds=seconds).days}{NBSP}d"


def boost(factor: int, until_s: float, now_s: float) -> str:
    """A weight's boost, by its end in Unix time: "x3 until 14:05 UTC". It is never longer than a day."""
    if factor == 1:
        return ""
    until = datetime.fromtimestamp(until_s, UTC)
    if now_s < until_s:
        return f"{TIMES}{factor} until {until:%H:%M}{NBSP}UTC"
    return f"{TIMES}{factor} ended {_coarse(now_s - until_s)} ago"


def cost(rule: CostRule) -> str:
    """What a token counts: the prompt's and the completion's tokens with their weights, and the discount."""
    parts = [
        name if weight == 1 else f"{weight} {TIMES} {name}"
        for name, weight in (("prompt", rule.prompt_weight), ("completion", rule.completion_weight))
    ]
    off = rule.cached_discount_percent
    return " + ".join(parts) + (f", cached prompt tokens {off}{NBSP}% off" if off else "")


def plural(number: int, one: str, many: str = "") -> str:
    """1 request, 2 requests."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"
