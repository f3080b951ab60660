"""The names of llama.cpp's server, checked against recorded pages (tests/fakes/recorded)."""

from __future__ import annotations

from scheduling.engines.table import Ratio, Series, Table

LLAMACPP = Table(
    engine="llamacpp",
    switch="start llama-server with --metrics",
    running=(Series(("llamacpp:requests_processing",)),),
    waiting=(Series(("llamacpp:requests_deferred",)),),
    work=Series(("llamacpp:n_decode_total",)),  # its token counter moves only when a request ends
    token_time=Ratio((("llamacpp:tokens_predicted_seconds_total", "llamacpp:tokens_predicted_total"),)),
)
