"""SGLang's names, on its metric page and in its JSON of loads.

Checked against its page "Production Metrics" and against public programs
that read its ``/v1/loads``; not against a running SGLang.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from scheduling.engines.exposition import Sample
from scheduling.engines.figures import Capacity, Series
from scheduling.engines.jsonpage import decoded, number
from scheduling.engines.table import Blind, Page, Table

MOST_RANKS = 4096
FIELDS = {  # of one rank in /v1/loads, and the series that says the same
    "num_running_reqs": "sglang:num_running_reqs",
    "num_waiting_reqs": "sglang:num_queue_reqs",
    "token_usage": "sglang:token_usage",
    "max_total_num_tokens": "sglang:max_total_num_tokens",
    "max_running_requests": "sglang:max_running_requests",
}


def ranks(text: str, names: Collection[str]) -> list[Sample]:
    """The loads of all data-parallel ranks as samples of the metric page's names.

    Raises BadPage when the text is no JSON, and Blind when no rank is in it or
    one has no KV memory yet: zeros of such a rank are no idleness.
    """
    page = decoded(text)
    rows = page.get("loads") if isinstance(page, Mapping) else None
    if not isinstance(rows, list) or not rows:
        raise Blind("blind: SGLang's /v1/loads names no rank")
    samples: list[Sample] = []
    for n, row in enumerate(rows[:MOST_RANKS]):
        samples += _rank(row if isinstance(row, Mapping) else {}, str(n))
    return [sample for sample in samples if sample.name in names]


def _rank(row: Mapping[str, Any], rank: str) -> list[Sample]:
    if number(row.get("max_total_num_tokens")) == 0:
        raise Blind(f"not ready: SGLang's rank {rank} has no KV memory yet")
    found = ((series, number(row.get(field))) for field, series in FIELDS.items())
    return [Sample(series, {"dp_rank": rank}, value) for series, value in found if value is not None]


def _spelled(*names: str) -> tuple[str, ...]:
    # Ray's metric agent cannot write a colon.
    return tuple(spelled for name in names for spelled in (f"sglang:{name}", f"sglang_{name}"))


LOADS = Page("/v1/loads", ranks)

# Its inter-token histogram has a sum and a count of different things, so no mean is read from it.
# Requests whose grammar is still compiled (num_grammar_queue_reqs) do not wait for room.
SGLANG = Table(
    engine="sglang",
    pages=(Page("/metrics"), LOADS),
    setup=(LOADS,),
    switch="start SGLang with --enable-metrics",
    running=(Series(_spelled("num_running_reqs")),),
    waiting=(Series(_spelled("num_queue_reqs")),),
    kv_usage=Series(_spelled("full_token_usage", "token_usage")),
    preemptions=Series(_spelled("num_retracted_requests_total")),
    work=Series(_spelled("generation_tokens_total")),
    most=Series(("sglang:max_running_requests",)),
    capacity=Capacity(
        tokens=Series(_spelled("max_total_num_tokens")),
        info=(_spelled("cache_config_info"), (("page_size", "num_pages"),)),
    ),
)
