"""vLLM's names: v1 engine, checked against recorded pages of 0.32.0 (tests/fakes/recorded).

Legacy names are from its documentation. No page of it says --max-num-seqs.
"""

from __future__ import annotations

from scheduling.engines.figures import Capacity, Ratio, Series
from scheduling.engines.table import Table


def _spelled(*names: str) -> tuple[str, ...]:
    # Ray's metric agent cannot write a colon, so the same series appear there with an underscore.
    return tuple(name for base in names for name in (f"vllm:{base}", f"vllm_{base}"))


def _pairs(*bases: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"{name}_sum", f"{name}_count") for name in _spelled(*bases))


VLLM = Table(
    engine="vllm",
    switch="start vLLM without --disable-log-stats",
    running=(Series(_spelled("num_requests_running")),),
    waiting=(
        # The plain figure also counts requests deferred for other reasons than room.
        Series(_spelled("num_requests_waiting_by_reason"), only=("reason", "capacity")),
        Series(_spelled("num_requests_waiting")),
    ),
    kv_usage=Series(_spelled("kv_cache_usage_perc", "gpu_cache_usage_perc")),
    preemptions=Series(_spelled("num_preemptions_total")),
    work=Series(_spelled("generation_tokens_total")),
    token_time=Ratio(_pairs("inter_token_latency_seconds", "time_per_output_token_seconds")),
    # Blocks times size is wrong where layers differ in their memory; newer versions say the tokens.
    capacity=Capacity(
        info=(_spelled("cache_config_info"), (("kv_cache_size_tokens",), ("num_gpu_blocks", "block_size")))
    ),
)
