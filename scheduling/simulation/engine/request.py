"""What the engine is asked, what it reports, and its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SchedulingPolicy(StrEnum):
    """The order of the waiting queue, in vLLM's words."""

    FCFS = "fcfs"
    PRIORITY = "priority"


class Finish(StrEnum):
    """Why an answer ended: the reasons of vllm:request_success_total."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"
    ERROR = "error"
    REPETITION = "repetition"


class QueueFull(Exception):
    """The engine already has as many requests in flight as it may (max_num_queued_reqs)."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """The limits of one engine, under vLLM's names.

    ``kv_tokens`` is rounded down to whole blocks. ``max_num_queued_reqs``
    bounds waiting and running requests together, as vLLM counts them.
    Raises ValueError that names the field and the mend.
    """

    max_num_seqs: int = 64
    scheduling_policy: SchedulingPolicy = SchedulingPolicy.FCFS
    max_num_batched_tokens: int = 2048
    kv_tokens: int = 427_000
    block_size: int = 16
    max_model_len: int = 8192
    max_num_queued_reqs: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_num_seqs", "max_num_batched_tokens", "kv_tokens", "block_size", "max_model_len"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give a whole number of at least 1")
        if self.max_num_queued_reqs is not None and self.max_num_queued_reqs < 1:
            raise ValueError("max_num_queued_reqs must be at least 1: leave it out for no limit")
        # One request of the longest length must fit alone, or it would be preempted for ever.
        if self.max_model_len > self.kv_blocks * self.block_size:
            raise ValueError(
                f"max_model_len is {self.max_model_len} but the KV memory holds "
                f"{self.kv_blocks * self.block_size} tokens: lower max_model_len or raise kv_tokens"
            )

    @property
    def kv_blocks(self) -> int:
        """Whole blocks of KV memory."""
        return self.kv_tokens // self.block_size


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One prompt and how long its answer will be.

    ``output_tokens`` is what the model will say (0: nothing, an embedding);
    ``max_tokens`` what the client allowed. Lower ``priority`` goes earlier,
    and only under the priority policy. ``block_hashes`` names the prompt's
    full KV blocks in order, each hash covering all text before it too; empty
    means that nothing can be shared.
    """

    request_id: str
    prompt_tokens: int
    output_tokens: int
    max_tokens: int
    priority: int = 0
    block_hashes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """One request got one token further, or ended.

    ``output_tokens`` counts the tokens said so far, this one included.
    """

    request_id: str
    output_tokens: int
    cached_tokens: int
    finish: Finish | None


class Sequence:
    """A request inside the engine: how much is computed, and what memory it holds."""

    __slots__ = (
        "admitted_ms",
        "arrived_ms",
        "blocks",
        "cached_tokens",
        "computed",
        "first_token_ms",
        "gone",
        "last_token_ms",
        "order",
        "output",
        "preemptions",
        "published",
        "rank",
        "request",
        "scheduled",
        "shared",
        "target",
    )

    def __init__(self, request: EngineRequest, rank: int, order: int, now_ms: float) -> None:
        self.request = request
        self.rank = rank  # place in line: lower rank first,
        self.order = order  # then lower order
        self.arrived_ms = now_ms
        self.admitted_ms: float | None = None
        self.first_token_ms: float | None = None
        self.last_token_ms = now_ms
        self.target = request.prompt_tokens  # tokens that must be computed before the next one is said
        self.computed = 0
        self.output = 0
        self.scheduled = 0  # tokens the step in flight computes for it
        self.blocks = 0  # KV blocks held, shared ones included
        self.shared: list[int] = []  # hashes of the blocks that others may share
        self.published = 0  # leading hashes already offered for sharing
        self.cached_tokens = 0
        self.preemptions = 0
        self.gone = False
