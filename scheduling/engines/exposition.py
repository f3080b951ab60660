"""A Prometheus text page becomes exact numbers, or one clear error."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

MAX_PAGE_BYTES = 4 * 1024 * 1024  # vLLM's page is about 60 kB; 4 MB leaves room for many ranks and models
MAX_LINES = 100_000  # more than this is no engine's page
MAX_LINE_CHARACTERS = 8192  # a line of many labels has some hundreds
QUOTED_CHARACTERS = 60  # how much of a bad line an error shows
SHARING_RANKS = frozenset({"tp_rank", "pp_rank", "moe_ep_rank"})  # labels of ranks with one batch in common

# One sample: a name, labels if any, a value, then a timestamp or exemplar if any.
_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{.*\}\s*|\s+)\S+(?:\s.*)?$")


class BadPage(ValueError):
    """The page is not a Prometheus text page."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of the page. ``value`` is finite and not negative."""

    name: str
    labels: Mapping[str, str]
    value: float


def parse(page: str, names: Collection[str]) -> list[Sample]:
    """The samples of these exact names, in the page's order.

    Only wanted lines go through the full parser, so a page of thousands of
    histogram lines costs little; every other line is still checked for its
    shape. NaN, infinite and negative values are dropped: an engine that
    says them has said nothing. Raises BadPage naming the line.
    """
    wanted: list[str] = []
    for number, line in enumerate(_lines(page), start=1):
        if not line or line.startswith("#"):
            continue
        if len(line) > MAX_LINE_CHARACTERS or not (shape := _SAMPLE.match(line)):
            raise BadPage(f"broken page: line {number} is no sample: {line[:QUOTED_CHARACTERS]!r}")
        if shape[1] in names:
            wanted.append(line)
    return [sample for sample in _samples(wanted) if math.isfinite(sample.value) and sample.value >= 0]


def _lines(page: str) -> Iterable[str]:
    if len(page) > MAX_PAGE_BYTES:
        raise BadPage(f"page too big: more than {MAX_PAGE_BYTES} bytes")
    lines = page.split("\n")
    if len(lines) > MAX_LINES:
        raise BadPage(f"page too big: more than {MAX_LINES} lines")
    return (line.strip() for line in lines)


def _samples(lines: Iterable[str]) -> Iterable[Sample]:
    # Line by line and without its TYPE comment, so that a counter keeps its own name.
    for line in lines:
        try:
            for family in text_string_to_metric_families(line):
                for sample in family.samples:
                    yield Sample(sample.name, sample.labels, float(sample.value))
        except (ValueError, IndexError, OverflowError) as error:  # the last: digits that no float holds
            raise BadPage(f"broken page: cannot read {line[:QUOTED_CHARACTERS]!r}") from error


def total(samples: Iterable[Sample], name: str) -> float | None:
    """The sum over the label sets (data-parallel ranks, models) of one name; None when the page has none.

    Ranks that share one batch (tensor and pipeline parallel) say the same
    figure each; of those the largest counts once.
    """
    parts: dict[tuple[tuple[str, str], ...], float] = {}
    for sample in samples:
        if sample.name == name:
            part = tuple(sorted(item for item in sample.labels.items() if item[0] not in SHARING_RANKS))
            parts[part] = max(parts.get(part, 0.0), sample.value)
    return sum(parts.values()) if parts else None
