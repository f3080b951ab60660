"""LMDeploy's names, checked against its own collector in public copies; not against a running LMDeploy."""

from __future__ import annotations

from scheduling.engines.figures import Ratio, Series
from scheduling.engines.table import Table

LMDEPLOY = Table(
    engine="lmdeploy",
    switch="start LMDeploy's api_server without --disable-metrics (older ones: with --enable-metrics)",
    running=(Series(("lmdeploy:num_requests_running",)),),
    # Requests wait for a handle of the API server first, then for the engine.
    waiting=(Series(("lmdeploy:num_requests_waiting",), plus=("lmdeploy:num_api_requests_waiting",)),),
    kv_usage=Series(("lmdeploy:gpu_cache_usage_perc",)),
    work=Series(("lmdeploy:generation_tokens_total",)),
    token_time=Ratio(
        (("lmdeploy:time_per_output_token_seconds_sum", "lmdeploy:time_per_output_token_seconds_count"),)
    ),
)
