"""The names of NVIDIA's three servers of TensorRT-LLM; none of them was run.

Triton: checked against the README of its tensorrtllm_backend. trtllm-serve:
against its documentation of ``/prometheus/metrics`` and the model server
protocol of the Gateway API Inference Extension. NIM: against its own
published collector, and pages that its users show.
"""

from __future__ import annotations

from scheduling.engines.figures import Capacity, Ratio, Series
from scheduling.engines.table import Page, Table

_REQUESTS, _BLOCKS = "nv_trt_llm_request_metrics", "nv_trt_llm_kv_cache_block_metrics"


def _requests(kind: str) -> Series:
    return Series((_REQUESTS,), only=("request_type", kind))


def _blocks(kind: str) -> Series:
    return Series((_BLOCKS,), only=("kv_cache_block_type", kind))


# No counter of its page is known to grow while requests stream.
TRITON = Table(
    engine="triton",
    switch="start Triton with --allow-metrics and give the URL of a front end that serves /metrics",
    running=(_requests("scheduled"),),
    waiting=(_requests("waiting"),),
    kv_usage=_blocks("fraction"),
    most=_requests("max"),
    capacity=Capacity(blocks=(_blocks("max"), _blocks("tokens_per"))),
)

# Its own /metrics is a JSON list of iterations that empties as it is read; Dynamo serves these names there.
# Its counters of tokens and of requests grow only when a request ends.
TRTLLM = Table(
    engine="trtllm",
    pages=(Page("/prometheus/metrics"), Page("/metrics")),
    switch="start trtllm-serve with return_perf_metrics: true",
    running=(Series(("trtllm_num_requests_running",)),),
    waiting=(Series(("trtllm_num_requests_waiting",)),),
    kv_usage=Series(("trtllm_kv_cache_utilization",)),
    token_time=Ratio(
        (("trtllm_time_per_output_token_seconds_sum", "trtllm_time_per_output_token_seconds_count"),)
    ),
    most=Series(("trtllm_max_batch_size_runtime", "trtllm_max_batch_size_static")),
    capacity=Capacity(
        blocks=(Series(("trtllm_kv_cache_max_blocks",)), Series(("trtllm_kv_cache_tokens_per_block",)))
    ),
)

# Newer images show vLLM's own names beside the unprefixed cap.
NIM = Table(
    engine="nim",
    pages=(Page("/v1/metrics"), Page("/metrics")),
    switch="check that the URL is NIM's own port, without /v1",
    running=(Series(("num_requests_running", "vllm:num_requests_running")),),
    waiting=(Series(("num_requests_waiting", "vllm:num_requests_waiting")),),
    kv_usage=Series(("gpu_cache_usage_perc", "vllm:kv_cache_usage_perc")),
    work=Series(("generation_tokens_total", "vllm:generation_tokens_total")),
    token_time=Ratio(
        (
            ("time_per_output_token_seconds_sum", "time_per_output_token_seconds_count"),
            ("vllm:inter_token_latency_seconds_sum", "vllm:inter_token_latency_seconds_count"),
        )
    ),
    most=Series(("num_request_max",)),
    capacity=Capacity(info=(("vllm:cache_config_info",), (("num_gpu_blocks", "block_size"),))),
)
