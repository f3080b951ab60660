"""Text Generation Inference's names.

Checked against its pages "Metrics" and "Messages API" (``/info``); not
against a running TGI.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from scheduling.engines.exposition import Sample
from scheduling.engines.figures import Capacity, Ratio, Series
from scheduling.engines.jsonpage import decoded, number
from scheduling.engines.table import Page, Table

INFO = "tgi_info:"  # our own prefix for the fields of /info: the metric page says none of them


def info(text: str, names: Collection[str]) -> list[Sample]:
    """The figures of ``/info``. Raises BadPage when it is no JSON."""
    page = decoded(text)
    found = page.items() if isinstance(page, Mapping) else ()
    figures = ((f"{INFO}{field}", number(value)) for field, value in found)
    return [Sample(name, {}, value) for name, value in figures if name in names and value]


TGI = Table(
    engine="tgi",
    setup=(Page("/info", info),),
    switch="check that the URL is TGI's own port",
    running=(Series(("tgi_batch_current_size",)),),
    waiting=(Series(("tgi_queue_size",)),),
    work=Series(("tgi_batch_inference_count",)),
    token_time=Ratio(
        (("tgi_request_mean_time_per_token_duration_sum", "tgi_request_mean_time_per_token_duration_count"),)
    ),
    # Over the second it answers "overloaded", so it is a bound too.
    most=Series((f"{INFO}max_batch_size", f"{INFO}max_concurrent_requests")),
    capacity=Capacity(tokens=Series((f"{INFO}max_batch_total_tokens",))),
)
