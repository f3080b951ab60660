"""What the engine is asked, what it reports, and its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from scheduling.simulation.engine.memory import Held

BLOCK_SIZE = 16  # tokens
AT_LEAST_ONE = (
    "max_num_seqs",
    "max_num_batched_tokens",
    "kv_tokens",
    "block_size",
    "max_model_len",
    "hash_blocks",
)


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
    bounds waiting and running requests together, as vLLM counts them. Each
    of a request's ``block_hashes`` stands for ``hash_blocks`` KV blocks.
    Raises ValueError that names the field and the mend.
    """

    max_num_seqs: int = 64
    scheduling_policy: SchedulingPolicy = SchedulingPolicy.FCFS
    max_num_batched_tokens: int = 2048
    kv_tokens: int = 427_000
    block_size: int = BLOCK_SIZE
    max_model_len: int = 8192
    max_num_queued_reqs: int | None = None
    hash_blocks: int = 1

    def __post_init__(self) -> None:
        for name in AT_LEAST_ONE:
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


class Placed(Held):
    """A request inside the engine, and its place in line: lower ``rank`` first, then lower ``order``."""

    __slots__ = ("cached_tokens", "gone", "order", "rank", "request")

    def __init__(self, request: EngineRequest, place: tuple[int, int]) -> None:
        super().__init__()
        self.request = request
        self.rank, self.order = place
        self.cached_tokens = 0  # of its prompt, when it was admitted first
        self.gone = False


class Sequence(Placed):
    """A request inside the stepping engine: how much is computed, and when it got how far."""

    __slots__ = (
        "admitted_ms",
        "arrived_ms",
        "first_token_ms",
        "last_token_ms",
        "output",
        "preemptions",
        "scheduled",
        "target",
    )

    def __init__(self, request: EngineRequest, place: tuple[int, int], now_ms: float) -> None:
        super().__init__(request, place)
        self.arrived_ms = now_ms
        self.admitted_ms: float | None = None
        self.first_token_ms: float | None = None
        self.last_token_ms = now_ms
        self.target = request.prompt_tokens  # tokens that must be computed before the next one is said
        self.output = 0
        self.scheduled = 0  # tokens the step in flight computes for it
        self.preemptions = 0
