"""Workloads from trace files: who asked for how much when, as it was."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from scheduling.simulation.scenario import PREFIX_TOKENS, Arrival, EngineSpec, Workload
from scheduling.simulation.workloads.generate import by_popularity, dice, in_order, workload
from scheduling.simulation.workloads.public import TENANTS, ZIPF

CSV_COLUMNS = ("arrival_s", "prompt_tokens", "completion_tokens")
JSON_FIELDS = ("timestamp", "input_length", "output_length")  # milliseconds, tokens, tokens
TENANT_COLUMNS = ("tenant", "client")
USUAL_CONTEXT_TOKENS = 8_192  # longer requests get an engine with a longer context
MEASURED_FROM = 0.1  # of the time in which requests come: until then the engine fills up


def read_trace(path: Path, seed: int, seconds: int | None = None) -> Workload:
    """The arrivals of a file, from its beginning, as far as ``seconds`` go.

    A ``.jsonl`` file has an object a line with ``timestamp`` (ms),
    ``input_length`` and ``output_length``, and may have ``hash_ids``, a number
    for each growing beginning of 512 tokens (engines keep those then); any
    other is CSV with the columns ``arrival_s``, ``prompt_tokens`` and
    ``completion_tokens``. A column ``tenant`` or ``client`` says whose a
    request is; without it ten tenants share them by Zipf's law, by the seed.
    Raises ValueError that names file,
    line, column and the mend, and OSError.
    """
    try:
        found = list(_json_rows(path) if path.suffix == ".jsonl" else _csv_rows(path))
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(f"{path}: this is no text in UTF-8. Give CSV or JSON lines in UTF-8.") from None
    if not found:
        raise ValueError(f"{path}: there is no request in it. Give a file with at least one row.")
    first_ms = min(arrival.at_ms for arrival in found)
    moved = [replace(arrival, at_ms=arrival.at_ms - first_ms) for arrival in found]
    arrivals = in_order(one for one in moved if seconds is None or one.at_ms < seconds * 1000)
    if not all(arrival.tenant for arrival in arrivals):
        arrivals = tuple(by_popularity(dice(seed), arrivals, TENANTS, ZIPF))
    ends_s = max(1.0, arrivals[-1].at_ms / 1000)
    played = workload(path.stem, arrivals, ends_s * MEASURED_FROM, ends_s)
    return replace(played, engines=(_engine_for(path, arrivals),))


def _engine_for(path: Path, arrivals: tuple[Arrival, ...]) -> EngineSpec:
    """One that takes the longest request."""
    longest = max(arrival.prompt_tokens + arrival.completion_tokens for arrival in arrivals)
    spec = EngineSpec(
        max_model_len=max(USUAL_CONTEXT_TOKENS, longest),
        prefix_cache=any(arrival.prefixes for arrival in arrivals),
    )
    if longest > spec.costs().kv_tokens:
        raise ValueError(
            f"{path}: its longest request has {longest:,} tokens, and the engine's memory holds "
            f"{spec.costs().kv_tokens:,}. Take the row out."
        )
    return spec


def _csv_rows(path: Path) -> Iterator[Arrival]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        missing = [name for name in CSV_COLUMNS if name not in columns]
        if missing:
            raise ValueError(
                f"{path}, line 1: there is no column {', '.join(missing)}. The first line must name "
                f"the columns {', '.join(CSV_COLUMNS)}, and may name tenant or client."
            )
        for row in reader:
            yield _arrival(row, CSV_COLUMNS, 1000, f"{path}, line {reader.line_num}")


def _json_rows(path: Path) -> Iterator[Arrival]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}, line {number}"
            if not line.strip():
                continue
            try:
                row = dict(json.loads(line))
            except (ValueError, TypeError):
                raise ValueError(
                    f"{where}: this is no JSON object. Give one with {', '.join(JSON_FIELDS)} in each line."
                ) from None
            arrival = _arrival(row, JSON_FIELDS, 1, where)
            yield replace(arrival, prefixes=_prefixes(row, arrival.prompt_tokens, where))


def _arrival(row: Mapping[str, Any], names: tuple[str, str, str], ms: int, where: str) -> Arrival:
    at, prompt, completion = names
    return Arrival(
        at_ms=round(_number(row, at, where) * ms),
        tenant=next((str(row[name]) for name in TENANT_COLUMNS if row.get(name)), ""),
        prompt_tokens=max(1, round(_number(row, prompt, where))),
        completion_tokens=max(1, round(_number(row, completion, where))),
    )


def _prefixes(row: Mapping[str, Any], prompt_tokens: int, where: str) -> tuple[int, ...]:
    """Those of whole blocks: what a prompt ends with is nobody else's."""
    found = row.get("hash_ids", [])
    if not isinstance(found, list) or not all(type(each) is int for each in found):
        raise ValueError(f"{where}, column hash_ids: give a list of whole numbers, or leave it out.")
    return tuple(found[: prompt_tokens // PREFIX_TOKENS])


def _number(row: Mapping[str, Any], name: str, where: str) -> float:
    """A number of at least 0: a request of no tokens counts as one of 1."""
    try:
        value = float(row[name])
    except (KeyError, TypeError, ValueError):
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError(
            f"{where}, column {name}: {row.get(name)!r} is no number of at least 0. "
            "Mend it, or take the line out."
        )
    return value
