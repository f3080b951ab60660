"""The engine's /metrics page, with the names, types and labels of vLLM v1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from scheduling.simulation.engine.model import EngineModel
from scheduling.simulation.engine.stats import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LABELS = ("model_name", "engine")

# name without suffix, help, attribute of Stats
COUNTERS = (
    ("vllm:prefix_cache_queries", "Prefix cache queries, in tokens.", "prefix_queries"),
    ("vllm:prefix_cache_hits", "Prefix cache hits, in cached tokens.", "prefix_hits"),
    ("vllm:num_preemptions", "Preemptions so far.", "preemptions"),
    ("vllm:prompt_tokens", "Prompt tokens processed.", "prompt_tokens"),
    ("vllm:prompt_tokens_cached", "Prompt tokens found in the cache.", "cached_tokens"),
    ("vllm:generation_tokens", "Tokens generated.", "generation_tokens"),
)
HISTOGRAMS = (
    ("vllm:time_to_first_token_seconds", "Arrival to first token.", "time_to_first_token"),
    ("vllm:inter_token_latency_seconds", "Between two tokens.", "inter_token_latency"),
    ("vllm:request_time_per_output_token_seconds", "Per token, per request.", "time_per_output_token"),
    ("vllm:e2e_request_latency_seconds", "Arrival to end.", "e2e_latency"),
    ("vllm:request_queue_time_seconds", "Time waiting.", "queue_time"),
    ("vllm:request_inference_time_seconds", "Time running.", "inference_time"),
    ("vllm:request_prefill_time_seconds", "Time in prefill.", "prefill_time"),
    ("vllm:request_decode_time_seconds", "Time in decode.", "decode_time"),
    ("vllm:iteration_tokens_total", "Tokens in one engine step.", "iteration_tokens"),
    ("vllm:request_prompt_tokens", "Prompt tokens per request.", "request_prompt_tokens"),
    ("vllm:request_generation_tokens", "Tokens generated per request.", "request_generation_tokens"),
    ("vllm:request_max_num_generation_tokens", "Most tokens of one choice.", "max_generation_tokens"),
    ("vllm:request_params_max_tokens", "max_tokens asked for.", "params_max_tokens"),
    ("vllm:request_params_n", "n asked for.", "params_n"),
)
# All that vLLM 0.32.0 tells; what a simulation has no answer to is None, as it is there.
CACHE_CONFIG = """
    _block_size_resolved block_size cache_dtype cache_hit_alignment_tokens effective_attention_block_size
    enable_mamba_shared_prefix_checkpoint enable_prefix_caching engine gpu_memory_utilization hash_block_size
    is_attention_free kv_cache_dtype_skip_layers kv_cache_layout kv_cache_max_concurrency
    kv_cache_memory_bytes kv_cache_size_tokens kv_offloading_backend kv_offloading_size
    kv_sharing_fast_prefill mamba_block_size mamba_cache_dtype mamba_cache_mode mamba_page_size_padded
    mamba_ssm_cache_dtype num_cpu_blocks num_gpu_blocks num_gpu_blocks_override
    prefix_cache_retention_interval prefix_caching_hash_algo prefix_match_unit replayssm_buffer_len
    skip_page_size_padded sliding_window swa_bounded_replay use_kda_recoverssm use_replayssm
    user_specified_block_size
"""
CACHE_CONFIG_LABELS = tuple(CACHE_CONFIG.split())


@dataclass(slots=True)
class Lag:
    """How far the server is behind its own schedule: it is short of CPU when this grows."""

    worst_s: float = 0.0  # in the last seconds
    lost_s: float = 0.0  # time given up in all, because catching up was hopeless


class MetricsPage(Collector):
    """Reads the model when the page is asked for; keeps nothing of its own."""

    def __init__(
        self, model: EngineModel, model_name: str, lag: Callable[[], Lag], started_at_s: float
    ) -> None:
        self._model = model
        self._values = (model_name, "0")
        self._lag = lag
        self._started_at_s = started_at_s
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def render(self) -> bytes:
        """The page in the Prometheus text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Every family, as the registry asks for them."""
        yield from self._gauges()
        yield from self._counters()
        for name, text, attribute in HISTOGRAMS:
            yield self._histogram(name, text, getattr(self._model.stats, attribute))
        yield GaugeMetricFamily(
            "process_start_time_seconds", "Start of the process, Unix time.", value=self._started_at_s
        )
        lag = self._lag()
        yield GaugeMetricFamily(
            "sim_lag_seconds", "Worst delay behind the schedule lately.", value=lag.worst_s
        )
        yield CounterMetricFamily(
            "sim_lost_seconds", "Time by which the schedule was moved back.", value=lag.lost_s
        )

    def _gauges(self) -> Iterator[Metric]:
        model = self._model
        yield self._gauge("vllm:num_requests_running", "Requests in execution batches.", model.running)
        yield self._gauge("vllm:num_requests_waiting", "Requests waiting to be processed.", model.waiting)
        reasons = GaugeMetricFamily(
            "vllm:num_requests_waiting_by_reason", "Requests waiting, by reason.", labels=[*LABELS, "reason"]
        )
        reasons.add_metric([*self._values, "capacity"], model.waiting)
        reasons.add_metric([*self._values, "deferred"], 0)
        yield reasons
        yield self._gauge("vllm:kv_cache_usage_perc", "KV-cache usage, 1 is all.", model.memory.usage)
        yield self._cache_config()

    def _cache_config(self) -> Metric:
        config = self._model.config
        said = {
            "block_size": config.block_size,
            "num_gpu_blocks": config.kv_blocks,
            "kv_cache_size_tokens": config.kv_blocks * config.block_size,
            "kv_cache_max_concurrency": config.kv_blocks * config.block_size / config.max_model_len,
            "enable_prefix_caching": True,
            "engine": "0",
        }
        info = GaugeMetricFamily(
            "vllm:cache_config_info", "The KV cache's configuration.", labels=CACHE_CONFIG_LABELS
        )
        info.add_metric([str(said.get(label)) for label in CACHE_CONFIG_LABELS], 1)
        return info

    def _counters(self) -> Iterator[Metric]:
        stats = self._model.stats
        for name, text, attribute in COUNTERS:
            counter = CounterMetricFamily(name, text, labels=LABELS)
            counter.add_metric(self._values, getattr(stats, attribute), created=self._started_at_s)
            yield counter
        success = CounterMetricFamily(
            "vllm:request_success", "Requests that ended, by reason.", labels=[*LABELS, "finished_reason"]
        )
        for finish, ended in stats.success.items():
            success.add_metric([*self._values, finish], ended, created=self._started_at_s)
        yield success
        sources = CounterMetricFamily(
            "vllm:prompt_tokens_by_source", "Prompt tokens by source.", labels=[*LABELS, "source"]
        )
        computed = stats.prompt_tokens - stats.cached_tokens
        for source, tokens in (
            ("local_compute", computed),
            ("local_cache_hit", stats.cached_tokens),
            ("external_kv_transfer", 0),
        ):
            sources.add_metric([*self._values, source], tokens, created=self._started_at_s)
        yield sources
        rejected = CounterMetricFamily(
            "vllm:admission_rejections", "Requests refused at the door.", labels=["model_name", "reason"]
        )
        for reason, count in (("max_num_queued_reqs", stats.rejections), ("max_num_queued_tokens", 0)):
            rejected.add_metric([self._values[0], reason], count, created=self._started_at_s)
        yield rejected

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        gauge = GaugeMetricFamily(name, text, labels=LABELS)
        gauge.add_metric(self._values, value)
        return gauge

    def _histogram(self, name: str, text: str, histogram: Histogram) -> Metric:
        family = HistogramMetricFamily(name, text, labels=LABELS)
        below, buckets = 0, []
        for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
            below += count
            buckets.append(("+Inf" if bound == float("inf") else repr(float(bound)), float(below)))
        family.add_metric(self._values, buckets, histogram.total)
        family.add_sample(f"{name}_created", dict(zip(LABELS, self._values, strict=True)), self._started_at_s)
        return family
