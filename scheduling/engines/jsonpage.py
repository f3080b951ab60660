"""Figures of JSON pages: exact, or not said."""

from __future__ import annotations

import json
import math
from typing import Any

from scheduling.engines.exposition import QUOTED_CHARACTERS, BadPage


def decoded(text: str) -> Any:
    """The page's value. Raises BadPage when it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadPage(f"broken page: no JSON: {text[:QUOTED_CHARACTERS]!r}") from error


def number(value: object) -> float | None:
    """A finite figure that is not negative; None for all else, also for true and for digits in quotes."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        figure = float(value)
    except OverflowError:
        return None
    return figure if math.isfinite(figure) and figure >= 0 else None
