"""What an engine counts, as vLLM counts it: pure numbers, no page."""

from __future__ import annotations

from bisect import bisect_left

from scheduling.simulation.engine.request import Finish, Sequence

# Bucket bounds as in vllm/v1/metrics/loggers.py.
TTFT_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
TOKEN_S = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
REQUEST_S = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
)  # fmt: skip
STEP_TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
CHOICES = (1, 2, 5, 10, 20)


class Histogram:
    """Counts per bucket, and a sum. A value equal to a bound belongs to that bucket."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)


def one_two_five(largest: int) -> tuple[float, ...]:
    """Bounds 1, 2, 5, 10 … up to ``largest``: vLLM's buckets for counts of tokens."""
    bounds: list[float] = []
    scale = 1
    while scale <= largest:
        bounds += [digit * scale for digit in (1, 2, 5) if digit * scale <= largest]
        scale *= 10
    return tuple(bounds)


class Stats:
    """Everything that only grows. Times are seconds, as on the page."""

    def __init__(self, max_model_len: int) -> None:
        self.preemptions = 0
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.generation_tokens = 0
        self.prefix_queries = 0
        self.prefix_hits = 0
        self.rejections = 0
        self.success = dict.fromkeys(Finish, 0)
        self.time_to_first_token = Histogram(TTFT_S)
        self.inter_token_latency = Histogram(TOKEN_S)
        self.time_per_output_token = Histogram(TOKEN_S)
        self.e2e_latency = Histogram(REQUEST_S)
        self.queue_time = Histogram(REQUEST_S)
        self.inference_time = Histogram(REQUEST_S)
        self.prefill_time = Histogram(REQUEST_S)
        self.decode_time = Histogram(REQUEST_S)
        self.iteration_tokens = Histogram(STEP_TOKENS)
        self.params_n = Histogram(CHOICES)
        bounds = one_two_five(max_model_len)
        self.request_prompt_tokens = Histogram(bounds)
        self.request_generation_tokens = Histogram(bounds)
        self.params_max_tokens = Histogram(bounds)
        self.max_generation_tokens = Histogram(bounds)

    def admitted(self, sequence: Sequence) -> None:
        """A sequence left the waiting line for the first time."""
        self.prefix_queries += sequence.request.prompt_tokens
        self.prefix_hits += sequence.cached_tokens

    def said_token(self, sequence: Sequence, now_ms: float) -> None:
        """A sequence said a token. Call before its own times are moved."""
        self.generation_tokens += 1
        if sequence.first_token_ms is None:
            self.time_to_first_token.observe((now_ms - sequence.arrived_ms) / 1000)
        else:
            self.inter_token_latency.observe((now_ms - sequence.last_token_ms) / 1000)

    def prefilled(self, sequence: Sequence) -> None:
        """A prompt is computed for the first time."""
        self.prompt_tokens += sequence.request.prompt_tokens
        self.cached_tokens += sequence.cached_tokens

    def ended(self, sequence: Sequence, finish: Finish, now_ms: float) -> None:
        """A sequence said its last token, or was aborted after its first."""
        request, output = sequence.request, sequence.output
        admitted_ms = now_ms if sequence.admitted_ms is None else sequence.admitted_ms
        first_ms = now_ms if sequence.first_token_ms is None else sequence.first_token_ms
        self.success[finish] += 1
        self.e2e_latency.observe((now_ms - sequence.arrived_ms) / 1000)
        self.queue_time.observe((admitted_ms - sequence.arrived_ms) / 1000)
        self.inference_time.observe((now_ms - admitted_ms) / 1000)
        self.prefill_time.observe((first_ms - admitted_ms) / 1000)
        self.decode_time.observe((now_ms - first_ms) / 1000)
        if output > 1:
            self.time_per_output_token.observe((now_ms - first_ms) / 1000 / (output - 1))
        self.request_prompt_tokens.observe(request.prompt_tokens)
        self.request_generation_tokens.observe(output)
        self.params_max_tokens.observe(request.max_tokens)
        self.max_generation_tokens.observe(output)
        self.params_n.observe(1)
