"""What the two batching machines have in common: limits, memory, the waiting line, and how they are seen."""

from __future__ import annotations

from collections.abc import Sized
from typing import Generic, TypeVar

from scheduling.simulation.engine.memory import KvMemory
from scheduling.simulation.engine.profiles import StepCosts
from scheduling.simulation.engine.request import EngineConfig, EngineRequest, Placed, SchedulingPolicy
from scheduling.simulation.engine.waiting import WaitingLine

S = TypeVar("S", bound=Placed)


class Batching(Generic[S]):
    """An engine's state but for who runs: ``EngineModel`` and ``CountedEngine`` differ in how they step."""

    least_output_tokens = 0
    _running: Sized

    def __init__(self, config: EngineConfig, costs: StepCosts) -> None:
        self.config = config
        self.costs = costs
        self.memory = KvMemory(config.kv_blocks, config.block_size, config.hash_blocks)
        self.due_ms: float | None = None
        self._by_id: dict[str, S] = {}
        self._waiting: WaitingLine[S] = WaitingLine()
        self._arrivals = 0
        self._by_priority = config.scheduling_policy is SchedulingPolicy.PRIORITY

    @property
    def running(self) -> int:
        """Sequences with a seat (vllm:num_requests_running)."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Sequences without one (vllm:num_requests_waiting)."""
        return len(self._waiting.line)

    def _place(self, request: EngineRequest) -> tuple[int, int]:
        """Its place in line: rank, then order. Raises ValueError for a request that could never end."""
        if request.request_id in self._by_id:
            raise ValueError(f"request_id {request.request_id!r} is in use: ids must be unique")
        if request.prompt_tokens < 1 or request.output_tokens < self.least_output_tokens:
            raise ValueError(
                f"prompt_tokens must be at least 1, output_tokens at least {self.least_output_tokens}"
            )
        if request.prompt_tokens + request.output_tokens > self.config.max_model_len:
            raise ValueError(
                f"{request.prompt_tokens} + {request.output_tokens} tokens are over max_model_len "
                f"{self.config.max_model_len}: shorten the prompt or lower max_tokens"
            )
        self._arrivals += 1
        return request.priority if self._by_priority else 0, self._arrivals

    def _stand_in_line_again(self, sequence: S) -> None:
        """A preempted one: under fcfs before all others, under priority at its old place."""
        if self._by_priority:
            self._waiting.add(sequence)
        else:
            self._waiting.add_first(sequence)


def least_right(sequence: Placed) -> tuple[int, int]:
    """Under priority the running one with the greatest key is preempted: the worst, then the latest."""
    return sequence.rank, sequence.order
