"""The batching machine of ``model.py`` for pretend time: sequences that decode are counted together."""

from __future__ import annotations

from collections import deque
from math import inf

from scheduling.simulation.engine.decoding import CountedSequence, Decoders
from scheduling.simulation.engine.profiles import StepCosts
from scheduling.simulation.engine.request import (
    EngineConfig,
    EngineRequest,
    Finish,
    Progress,
    SchedulingPolicy,
)


class CountedEngine:
    """Requests in, first tokens and ends out: at the same times as from ``EngineModel``, step by step.

    A running sequence past its prompt computes one token in every step, so
    they are counted together (``Decoders``): a step costs the work of what
    changes in it (a prompt's chunk, an end, a preemption), not of each
    sequence that says one more token.

    Only the ``fcfs`` policy, and no prefix cache: nothing a pretend run
    needs. ``submit``, ``abort``, ``advance`` and ``due_ms`` as there.
    """

    def __init__(self, config: EngineConfig, costs: StepCosts) -> None:
        if config.scheduling_policy is not SchedulingPolicy.FCFS:
            raise ValueError("the counted engine knows only the policy fcfs: use EngineModel")
        if config.max_num_seqs > config.max_num_batched_tokens:
            raise ValueError("max_num_seqs is over max_num_batched_tokens: lower it, or use EngineModel")
        self.config = config
        self.costs = costs
        self.due_ms: float | None = None
        self.ended_ms = 0.0  # when the last step ended
        self.preemptions = 0
        self.decode_tokens = 0  # said so far by all, but for first ones,
        self.decode_ms = 0.0  # and the time that passed before each, summed
        self.used_blocks = 0
        self._by_id: dict[str, CountedSequence] = {}
        self._waiting: deque[CountedSequence] = deque()
        self._running: dict[int, CountedSequence] = {}  # by seat, so in the order of admission
        self._prefilling: list[tuple[CountedSequence, int]] = []  # in this step: who, and how many tokens
        self._partial: CountedSequence | None = (
            None  # the one prompt that is computed in chunks: it runs last
        )
        self._seats = 0
        self._began_ms = 0.0  # the step in flight
        self._decoders = Decoders(config.block_size)

    # inputs

    def submit(self, request: EngineRequest) -> None:
        """Put a request in the waiting queue. Raises ValueError for one that could never end."""
        if request.request_id in self._by_id:
            raise ValueError(f"request_id {request.request_id!r} is in use: ids must be unique")
        if request.prompt_tokens < 1 or request.output_tokens < 1:
            raise ValueError("prompt_tokens and output_tokens must be at least 1")
        if request.prompt_tokens + request.output_tokens > self.config.max_model_len:
            raise ValueError(
                f"{request.prompt_tokens} + {request.output_tokens} tokens are over max_model_len "
                f"{self.config.max_model_len}"
            )
        sequence = self._by_id[request.request_id] = CountedSequence(request)
        self._waiting.append(sequence)

    def abort(self, request_id: str) -> int:
        """The client left: give back seat and memory at once. How many tokens it had been told."""
        sequence = self._by_id.pop(request_id)
        sequence.gone = True
        if not sequence.seat:
            self._waiting.remove(sequence)
        elif sequence.decodes:
            # The step in flight has taken the block for its next token.
            self.used_blocks -= self._blocks(self._decoders.tokens(sequence) + 1)
            self._decoders.leave(sequence)
        else:
            self.used_blocks -= sequence.blocks
        self._leave(sequence)
        return sequence.spoken

    def crash(self) -> list[tuple[str, int]]:
        """The process died: all are lost. Their ids in order of arrival, and the tokens each was told."""
        lost = [(name, self.abort(name)) for name in list(self._by_id)]
        self.due_ms = None
        self._prefilling = []
        return lost

    def advance(self, now_ms: float, until_ms: float = -inf) -> list[Progress]:
        """End the step that is due and start the next; who said a first or a last token, in order of seats.

        While steps bring neither it goes on to those that end before
        ``until_ms``; ``ended_ms`` is when the last of them ended.
        """
        said: list[Progress] = []
        self.ended_ms = now_ms
        if self.due_ms is not None:
            self._finish_step(now_ms, said)
        self.due_ms = self._start_step(now_ms)
        while not said and self.due_ms is not None and self.due_ms < until_ms:
            self.ended_ms = self.due_ms
            self._finish_step(self.ended_ms, said)
            self.due_ms = self._start_step(self.ended_ms)
        return said

    # views

    @property
    def running(self) -> int:
        """Sequences with a seat."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Sequences without one."""
        return len(self._waiting)

    @property
    def kv_usage(self) -> float:
        """Used share of the KV memory, 0 to 1."""
        return self.used_blocks / self.config.kv_blocks

    def told(self) -> list[tuple[str, int]]:
        """The tokens said so far by each that decodes."""
        steps = self._decoders.steps
        return [(one.request.request_id, one.spoken + steps) for one in self._running.values() if one.decodes]

    # the step

    def _start_step(self, now_ms: float) -> float | None:
        self._prefilling = []
        self._began_ms = now_ms
        preemptions = self.preemptions
        budget = self._schedule_running()
        if self._waiting and self.preemptions == preemptions:
            self._admit_waiting(budget)
        sequences = tokens = self._decoders.count
        context = self._decoders.computed + tokens
        for sequence, chunk in self._prefilling:
            sequences += 1
            tokens += chunk
            context += sequence.computed + chunk
        return now_ms + self.costs.step_ms(sequences, tokens, context) if sequences else None

    def _schedule_running(self) -> int:
        """Memory for one token of each that decodes, and for the next chunk; the budget that is left."""
        growing = self._decoders.growing()
        if self.used_blocks + len(growing) <= self.config.kv_blocks:
            self.used_blocks += len(growing)
        else:
            self._squeeze(sorted(growing, key=_seat))
        budget = self.config.max_num_batched_tokens - self._decoders.count
        sequence = self._partial
        if sequence is None or budget <= 0:
            return budget
        chunk = min(self._target(sequence) - sequence.computed, budget)
        missing = self._blocks(sequence.computed + chunk) - sequence.blocks
        if self.used_blocks + missing > self.config.kv_blocks:
            self._preempt(sequence)
            return budget
        self._compute(sequence, chunk, missing)
        return budget - chunk

    def _squeeze(self, growing: list[CountedSequence]) -> None:
        """A block for each, as far as preempting the last running ones yields any."""
        for sequence in growing:
            while sequence.seat and self.used_blocks == self.config.kv_blocks:
                self._preempt(next(reversed(self._running.values())))
            if not sequence.seat:
                return  # it was the last one itself
            self.used_blocks += 1

    def _admit_waiting(self, budget: int) -> None:
        while self._waiting and budget > 0 and len(self._running) < self.config.max_num_seqs:
            sequence = self._waiting[0]
            chunk = min(self._target(sequence), budget)
            blocks = self._blocks(chunk)
            if self.used_blocks + blocks > self.config.kv_blocks:
                return
            self._waiting.popleft()
            self._seats += 1
            sequence.seat = self._seats
            self._running[self._seats] = sequence
            self._compute(sequence, chunk, blocks)
            budget -= chunk

    def _compute(self, sequence: CountedSequence, chunk: int, blocks: int) -> None:
        self.used_blocks += blocks
        sequence.blocks += blocks
        self._prefilling.append((sequence, chunk))

    def _finish_step(self, now_ms: float, said: list[Progress]) -> None:
        self.decode_ms += (now_ms - self._began_ms) * self._decoders.count
        self.decode_tokens += self._decoders.count
        for sequence in self._decoders.step():
            self.used_blocks -= self._blocks(self._decoders.tokens(sequence))
            self._decoders.leave(sequence)
            self._end(sequence, said)
        for sequence, chunk in self._prefilling:
            if not sequence.gone:
                sequence.computed += chunk
                self._prefilled(sequence, said)

    def _prefilled(self, sequence: CountedSequence, said: list[Progress]) -> None:
        """A chunk is computed: when it was the last one, a token is said."""
        if sequence.computed < self._target(sequence):
            self._partial = sequence
            return
        if sequence is self._partial:
            self._partial = None
        sequence.spoken += 1
        if sequence.spoken == sequence.request.output_tokens:
            self.used_blocks -= sequence.blocks
            self._end(sequence, said)
            return
        if sequence.spoken == 1:
            said.append(Progress(sequence.request.request_id, 1, 0, None))
        self._decoders.join(sequence)

    # who leaves

    def _end(self, sequence: CountedSequence, said: list[Progress]) -> None:
        request = sequence.request
        finish = Finish.LENGTH if 0 < request.max_tokens <= sequence.spoken else Finish.STOP
        said.append(Progress(request.request_id, sequence.spoken, 0, finish))
        sequence.gone = True
        del self._by_id[request.request_id]
        self._leave(sequence)

    def _preempt(self, sequence: CountedSequence) -> None:
        """Take seat and memory, before it got any in this step: what was computed is lost."""
        self.preemptions += 1
        if sequence.decodes:
            self.used_blocks -= self._blocks(self._decoders.tokens(sequence))
            self._decoders.leave(sequence)
        else:
            self.used_blocks -= sequence.blocks
        self._leave(sequence)
        self._waiting.appendleft(sequence)

    def _leave(self, sequence: CountedSequence) -> None:
        self._running.pop(sequence.seat, None)
        sequence.seat = sequence.computed = sequence.blocks = 0
        if sequence is self._partial:
            self._partial = None

    def _target(self, sequence: CountedSequence) -> int:
        """Tokens to compute before one is said: after a preemption also those said before."""
        return sequence.request.prompt_tokens + sequence.spoken

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.config.block_size)


def _seat(sequence: CountedSequence) -> int:
    return sequence.seat
