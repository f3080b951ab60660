"""What one step of an engine costs in time, per kind of GPU and model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class StepCosts:
    """The step-time formula of one GPU and model, and how many KV tokens it holds.

    A step of B sequences that computes n tokens and attends to c context
    tokens takes ``max(floor + floor_per_seq B, slope n) + kv c + host``.
    Reading the weights sets the floor, arithmetic the slope, reading the KV
    memory the third term, and scheduling and sampling on the host the last.
    It leaves out the quadratic term of attention in prefill.
    """

    floor_ms: float
    floor_per_seq_ms: float
    slope_us_per_token: float
    kv_us_per_token: float
    host_ms: float
    kv_tokens: int

    def step_ms(self, sequences: int, tokens: int, context_tokens: int) -> float:
        """How long a step takes, in milliseconds."""
        compute_ms = max(
            self.floor_ms + self.floor_per_seq_ms * sequences, self.slope_us_per_token * tokens / 1000
        )
        return compute_ms + self.kv_us_per_token * context_tokens / 1000 + self.host_ms

    def faster(self, factor: float) -> StepCosts:
        """The same engine, ``factor`` times faster."""
        return replace(
            self,
            floor_ms=self.floor_ms / factor,
            floor_per_seq_ms=self.floor_per_seq_ms / factor,
            slope_us_per_token=self.slope_us_per_token / factor,
            kv_us_per_token=self.kv_us_per_token / factor,
            host_ms=self.host_ms / factor,
        )


PROFILES: Mapping[str, StepCosts] = MappingProxyType(
    {
        # Llama-7B on an A10G. Fitted to fair_bench/cost_profile.json of Ying1123/VTC-artifact, worst
        # error 9.7 %; host time from that artifact's throughput; KV pool as in its experiments.
        "a10g-7b": StepCosts(
            floor_ms=16.3,
            floor_per_seq_ms=0.244,
            slope_us_per_token=213.0,
            kv_us_per_token=2.02,
            host_ms=3.4,
            kv_tokens=10_000,
        ),
        # Llama-3-8B on one A100-80G. Compute from vidur's data/profiling/compute/a100 medians over 32
        # layers (9.7 ms at 1 token, 11.2 at 64, 34.6 at 512, 273 at 4096). The KV term is an estimate:
        # 128 KiB a token over 2 TB/s. Host time is assumed. KV pool: 72 GB less 16 GB of weights.
        "a100-8b": StepCosts(
            floor_ms=9.7,
            floor_per_seq_ms=0.0234,
            slope_us_per_token=66.7,
            kv_us_per_token=0.066,
            host_ms=2.0,
            kv_tokens=427_000,
        ),
        # Llama-2-7B on one H100-80G. Compute from vidur's h100 profile (5.6 to 5.9 ms up to 64 tokens,
        # 12.0 at 512, 83.2 at 4096). The KV term is an estimate: 512 KiB a token over 3.35 TB/s. Host
        # time is assumed. KV pool: 72 GB less 13.5 GB of weights.
        "h100-7b": StepCosts(
            floor_ms=5.6,
            floor_per_seq_ms=0.0047,
            slope_us_per_token=20.3,
            kv_us_per_token=0.16,
            host_ms=2.0,
            kv_tokens=111_000,
        ),
    }
)
DEFAULT_PROFILE = "a100-8b"
