"""SGLang's names (its page "Production metrics"); not checked against a running SGLang."""

from __future__ import annotations

from scheduling.engines.table import Series, Table

# Its inter-token histogram has a sum and a count of different things, so no mean is read from it.
SGLANG = Table(
    engine="sglang",
    switch="start SGLang with --enable-metrics",
    running=(Series(("sglang:num_running_reqs", "sglang_num_running_reqs")),),
    waiting=(Series(("sglang:num_queue_reqs", "sglang_num_queue_reqs")),),
    kv_usage=Series(("sglang:full_token_usage", "sglang:token_usage", "sglang_token_usage")),
    work=Series(("sglang:generation_tokens_total", "sglang_generation_tokens_total")),
)
