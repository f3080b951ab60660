"""Text Generation Inference's names (its page "Metrics"); not checked against a running TGI."""

from __future__ import annotations

from scheduling.engines.table import Ratio, Series, Table

TGI = Table(
    engine="tgi",
    switch="check that the URL is TGI's own port",
    running=(Series(("tgi_batch_current_size",)),),
    waiting=(Series(("tgi_queue_size",)),),
    work=Series(("tgi_batch_inference_count",)),
    token_time=Ratio(
        (("tgi_request_mean_time_per_token_duration_sum", "tgi_request_mean_time_per_token_duration_count"),)
    ),
)
