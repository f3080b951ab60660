"""The names of llama.cpp's server, checked against recorded pages of 0.3.36 (tests/fakes/recorded).

Its pages are answered by the same threads that hold open requests, so under
load they come late: that is a timeout, and a timeout moves no limit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from scheduling.engines.exposition import Sample
from scheduling.engines.figures import Ratio, Series
from scheduling.engines.jsonpage import decoded, number
from scheduling.engines.table import Page, Table

SLOTS = "llamacpp:slots"  # our own name: no page of its metrics says how many it has


def slots(text: str, names: Collection[str]) -> list[Sample]:
    """How many slots ``/slots`` lists, or ``/props`` counts. Raises BadPage when it is no JSON."""
    page = decoded(text)
    listed = len(page) if isinstance(page, list) else None
    count = number(page.get("total_slots")) if isinstance(page, Mapping) else listed
    return [Sample(SLOTS, {}, float(count))] if count and SLOTS in names else []


LLAMACPP = Table(
    engine="llamacpp",
    setup=(Page("/props", slots), Page("/slots", slots)),
    switch="start llama-server with --metrics",
    running=(Series(("llamacpp:requests_processing",)),),
    waiting=(Series(("llamacpp:requests_deferred",)),),
    work=Series(("llamacpp:n_decode_total",)),  # its token counter moves only when a request ends
    token_time=Ratio((("llamacpp:tokens_predicted_seconds_total", "llamacpp:tokens_predicted_total"),)),
    most=Series((SLOTS,)),
)
