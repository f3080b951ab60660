"""The batching machine of a vLLM v1 engine: no clock, no loop, no text."""

from __future__ import annotations

from scheduling.simulation.engine.batching import Batching, least_right
from scheduling.simulation.engine.profiles import StepCosts
from scheduling.simulation.engine.request import (
    EngineConfig,
    EngineRequest,
    Finish,
    Progress,
    QueueFull,
    Sequence,
)
from scheduling.simulation.engine.stats import Stats


class EngineModel(Batching[Sequence]):
    """Requests in, tokens out, one step at a time.

    The caller owns the time. ``submit`` and ``abort`` may come at any
    moment; ``advance`` ends the step that is due and starts the next one,
    and ``due_ms`` says when to call it again. Times are milliseconds of any
    clock that does not go back.

        engine.submit(request, now_ms)
        if engine.due_ms is None:  # it was idle: start
            engine.advance(now_ms)
        ...
        for progress in engine.advance(engine.due_ms): ...

    A step, as in vllm/v1/core/sched/scheduler.py: first the running
    sequences in order, each with what it still has to compute, within
    ``max_num_batched_tokens``; one that gets no KV block preempts (fcfs: the
    last running, priority: the worst by priority, then arrival), which loses
    its memory and computes all of it again. Then, if nothing was preempted,
    waiting sequences while seats, budget and blocks for their next chunk
    last. A sequence whose tokens are all computed says one token at the end.
    A better priority overtakes those that wait, never those that run.
    """

    def __init__(self, config: EngineConfig, costs: StepCosts) -> None:
        super().__init__(config, costs)
        self.stats = Stats(config.max_model_len)
        self._running: list[Sequence] = []
        self._step: list[Sequence] = []

    # inputs

    def submit(self, request: EngineRequest, now_ms: float) -> None:
        """Put a request in the waiting queue.

        Raises QueueFull at ``max_num_queued_reqs``, and ValueError for a
        request that could never end (too long) or whose id is in use.
        """
        limit = self.config.max_num_queued_reqs
        if limit is not None and len(self._by_id) >= limit:
            self.stats.rejections += 1
            raise QueueFull(f"{limit} requests are in flight already")
        sequence = Sequence(request, self._place(request), now_ms)
        self._by_id[request.request_id] = sequence
        self._waiting.add(sequence)

    def abort(self, request_id: str, now_ms: float) -> bool:
        """The client left: give back seat and memory at once. False for an unknown id."""
        sequence = self._by_id.get(request_id)
        if sequence is None:
            return False
        if sequence in self._running:
            self._running.remove(sequence)
        else:
            self._waiting.remove(sequence)
        self._end(sequence, Finish.ABORT, now_ms)
        return True

    def advance(self, now_ms: float) -> list[Progress]:
        """End the step if it is due by now, then start the next; what became of each sequence.

        The new step starts at ``now_ms``: pass ``due_ms`` to lose no time.
        """
        progress: list[Progress] = []
        if self.due_ms is not None:
            if now_ms < self.due_ms:
                return progress
            progress = self._finish_step(now_ms)
        self.due_ms = self._start_step(now_ms)
        return progress

    # views

    def running_ids(self) -> tuple[str, ...]:
        """In the order in which they got their seats."""
        return tuple(sequence.request.request_id for sequence in self._running)

    def waiting_ids(self) -> tuple[str, ...]:
        """In the order in which they will be admitted."""
        return tuple(sequence.request.request_id for sequence in self._waiting)

    # the step

    def _start_step(self, now_ms: float) -> float | None:
        """Choose who computes what; when it will be done, or None when there is nothing to do."""
        self._step = []
        while not self._step:  # again when all that happened was that a sequence preempted itself
            preemptions = self.stats.preemptions
            budget = self._schedule_running(self.config.max_num_batched_tokens)
            if self.stats.preemptions == preemptions:
                self._admit_waiting(budget, now_ms)
                break
        if not self._step:
            return None
        tokens = context = 0
        for sequence in self._step:
            tokens += sequence.scheduled
            context += sequence.computed + sequence.scheduled
        self.stats.iteration_tokens.observe(tokens)
        return now_ms + self.costs.step_ms(len(self._step), tokens, context)

    def _schedule_running(self, budget: int) -> int:
        """Give each running sequence its tokens; the budget that is left."""
        index = 0
        while index < len(self._running) and budget > 0:
            sequence = self._running[index]
            wanted = min(sequence.target - sequence.computed, budget)
            while not self.memory.grow(sequence, wanted):
                victim = self._preempt()
                if victim.scheduled:  # it had its turn in this step already: only under priority
                    self._step.remove(victim)
                    budget += victim.scheduled
                    victim.scheduled = 0
                    index -= 1
                if victim is sequence:
                    return budget
            self._schedule(sequence, wanted)
            budget -= wanted
            index += 1
        return budget

    def _admit_waiting(self, budget: int, now_ms: float) -> None:
        while self._waiting and budget > 0 and len(self._running) < self.config.max_num_seqs:
            sequence = self._waiting.head
            self.memory.share(sequence, sequence.request.block_hashes, sequence.target)
            if not sequence.preemptions:
                sequence.cached_tokens = sequence.computed
            wanted = min(sequence.target - sequence.computed, budget)
            if not self.memory.grow(sequence, wanted):
                self.memory.forget(sequence)
                return
            self._waiting.remove_head()
            self._running.append(sequence)
            if sequence.admitted_ms is None:
                sequence.admitted_ms = now_ms
                self.stats.admitted(sequence)
            self._schedule(sequence, wanted)
            budget -= wanted

    def _schedule(self, sequence: Sequence, tokens: int) -> None:
        sequence.scheduled = tokens
        self._step.append(sequence)

    def _finish_step(self, now_ms: float) -> list[Progress]:
        progress: list[Progress] = []
        for sequence in self._step:
            if sequence.gone:
                continue
            sequence.computed += sequence.scheduled
            sequence.scheduled = 0
            if sequence.published < len(sequence.request.block_hashes):
                self.memory.publish(sequence, sequence.request.block_hashes)
            if sequence.computed == sequence.target:
                progress.append(self._say(sequence, now_ms))
        return progress

    def _say(self, sequence: Sequence, now_ms: float) -> Progress:
        """All is computed: one more token, and the end if it was the last."""
        request = sequence.request
        if sequence.first_token_ms is None:
            self.stats.prefilled(sequence)
        if request.output_tokens:
            self.stats.said_token(sequence, now_ms)
            sequence.output += 1
            sequence.target += 1
        if sequence.first_token_ms is None:
            sequence.first_token_ms = now_ms
        sequence.last_token_ms = now_ms
        finish = None
        if sequence.output == request.output_tokens:
            finish = Finish.LENGTH if 0 < request.max_tokens <= sequence.output else Finish.STOP
            self._running.remove(sequence)
            self._end(sequence, finish, now_ms)
        return Progress(request.request_id, sequence.output, sequence.cached_tokens, finish)

    def _end(self, sequence: Sequence, finish: Finish, now_ms: float) -> None:
        self.memory.forget(sequence)
        sequence.gone = True
        del self._by_id[sequence.request.request_id]
        self.stats.ended(sequence, finish, now_ms)

    def _preempt(self) -> Sequence:
        """Take seat and memory from the sequence that has the least right to them."""
        victim = self._running[-1]
        if self._by_priority:
            victim = max(self._running, key=least_right)
        self._running.remove(victim)
        self.memory.forget(victim)
        victim.preemptions += 1
        self.stats.preemptions += 1
        self._stand_in_line_again(victim)
        return victim
