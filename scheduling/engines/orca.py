"""The load that an engine tells in the headers of its own answers (ORCA: Open Request Cost Aggregation).

A client asks for it with ``endpoint-load-metrics-format: TEXT`` (or JSON);
the answer carries HEADER. Names and forms checked against public copies of
vLLM's ``orca_metrics.py`` (which sends them with whole answers only, not
with streams) and of Triton's own header test. The binary form is for gRPC
and is not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from scheduling.core.limits import EngineLoad
from scheduling.engines.exposition import BadPage
from scheduling.engines.figures import MOST_TOKENS
from scheduling.engines.jsonpage import decoded, number
from scheduling.engines.table import MOST_REQUESTS

HEADER = "endpoint-load-metrics"
MOST_CHARACTERS = 4096  # a report of two figures has some eighty
MOST_FIGURES = 64
PREFIX = "named_metrics."

WAITING = ("num_requests_waiting",)
RUNNING = ("num_requests_running",)
KV_USAGE = ("kv_cache_usage_perc", "kv_cache_utilization")
KV_TOKENS = ("max_token_capacity",)


def read(backend: str, header: str | bytes, at_s: float) -> EngineLoad | None:
    """The load in one header's value, heard at ``at_s`` (Unix time).

    None when the value is no report in TEXT or JSON form, or says nothing of
    the load. Never raises: it comes with somebody's answer.
    """
    text = header.decode("latin-1") if isinstance(header, bytes) else header
    if len(text) > MOST_CHARACTERS:
        return None
    said = dict(_figures(text.strip()))
    load = EngineLoad(
        backend,
        at_s,
        running=_whole(said, RUNNING, MOST_REQUESTS),
        waiting=_whole(said, WAITING, MOST_REQUESTS),
        kv_usage=_first(said, KV_USAGE, 1.0),
        kv_tokens=_whole(said, KV_TOKENS, MOST_TOKENS) or None,
    )
    return None if load == EngineLoad(backend, at_s) else load


def _figures(text: str) -> Iterator[tuple[str, float]]:
    form, _, report = text.partition(" ")
    if form == "TEXT":
        for part in report.split(",")[:MOST_FIGURES]:
            name, _, value = part.strip().partition("=")
            if name.startswith(PREFIX) and (figure := _spelled(value)) is not None:
                yield name.removeprefix(PREFIX), figure
    elif form == "JSON":
        yield from ((name, said) for name, value in _named(report) if (said := number(value)) is not None)


def _named(report: str) -> list[tuple[str, object]]:
    try:
        page = decoded(report)
    except BadPage:
        return []
    named = page.get("named_metrics") if isinstance(page, Mapping) else None
    return list(named.items())[:MOST_FIGURES] if isinstance(named, Mapping) else []


def _spelled(value: str) -> float | None:
    try:
        return number(float(value))
    except ValueError:
        return None


def _first(said: Mapping[str, float], names: tuple[str, ...], most: float) -> float | None:
    return next((said[name] for name in names if name in said and said[name] <= most), None)


def _whole(said: Mapping[str, float], names: tuple[str, ...], most: float) -> int | None:
    figure = _first(said, names, most)
    return None if figure is None else round(figure)
