"""The batching machine of ``model.py`` for pretend time: sequences that decode are counted together."""

from __future__ import annotations

from math import inf

from scheduling.simulation.engine.batching import Batching, least_right
from scheduling.simulation.engine.decoding import CountedSequence, Decoders
from scheduling.simulation.engine.profiles import StepCosts
from scheduling.simulation.engine.request import EngineConfig, EngineRequest, Finish, Progress


class CountedEngine(Batching[CountedSequence]):
    """Requests in, first tokens and ends out: at the same times as from ``EngineModel``, step by step.

    A running sequence past its prompt computes one token in every step, so
    they are counted together (``Decoders``): a step costs the work of what
    changes in it (a prompt's chunk, an end, a preemption), not of each
    sequence that says one more token. ``submit``, ``abort``, ``advance`` and
    ``due_ms`` as there; every answer has at least one token.
    """

    least_output_tokens = 1

    def __init__(self, config: EngineConfig, costs: StepCosts) -> None:
        if config.max_num_seqs > config.max_num_batched_tokens:
            raise ValueError("max_num_seqs is over max_num_batched_tokens: lower it, or use EngineModel")
        super().__init__(config, costs)
        self.ended_ms = 0.0  # when the last step ended
        self.preemptions = 0
        self.prompt_tokens = 0  # of all that were admitted,
        self.cached_tokens = 0  # and how many of them were in memory already
        self.decode_tokens = 0  # said so far by all, but for first ones,
        self.decode_ms = 0.0  # and the time that passed before each, summed
        self._running: dict[int, CountedSequence] = {}  # by seat, so in the order of admission
        self._prefilling: list[tuple[CountedSequence, int]] = []  # in this step: who, and how many tokens
        self._partial: CountedSequence | None = None  # the one prompt computed in chunks: it runs last
        self._passed_over: list[CountedSequence] = []  # past their prompt, but without a turn in this step
        self._seats = 0
        self._began_ms = 0.0  # the step in flight
        self._decoders = Decoders(config.block_size)

    # inputs

    def submit(self, request: EngineRequest) -> None:
        """Put a request in the waiting queue. Raises ValueError for one that could never end."""
        sequence = CountedSequence(request, self._place(request))
        self._by_id[request.request_id] = sequence
        self._waiting.add(sequence)

    def abort(self, request_id: str) -> int:
        """The client left: give back seat and memory at once. How many tokens it had been told.

        Raises KeyError when it is not (any more) inside.
        """
        sequence = self._by_id.pop(request_id)
        sequence.gone = True
        if sequence.seat:
            self._leave(sequence, 1)  # the step in flight has taken the block for its next token
        else:
            self._waiting.remove(sequence)
        return sequence.spoken

    def crash(self) -> list[tuple[str, int]]:
        """The process died: all are lost. Their ids in order of arrival, and the tokens each was told."""
        lost = [(name, self.abort(name)) for name in list(self._by_id)]
        self.due_ms = None
        self._prefilling, self._passed_over = [], []
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

    def holds(self, request_id: str) -> bool:
        """Whether the request is inside."""
        return request_id in self._by_id

    def spoken(self, request_id: str) -> int:
        """How many tokens it has been told by now; 0 when it is not inside."""
        if (sequence := self._by_id.get(request_id)) is None:
            return 0
        return sequence.spoken + (self._decoders.steps if sequence.decodes else 0)

    def told(self) -> list[tuple[str, int]]:
        """The tokens said so far by each that decodes."""
        steps = self._decoders.steps
        return [(one.request.request_id, one.spoken + steps) for one in self._running.values() if one.decodes]

    # the step

    def _start_step(self, now_ms: float) -> float | None:
        self._prefilling = []
        self._began_ms = now_ms
        decoders = self._decoders
        budget = self._schedule_running()
        if budget and len(self._running) < self.config.max_num_seqs and self._waiting.line:
            self._admit_waiting(budget)
        sequences = tokens = decoders.count
        context = decoders.computed + tokens
        for sequence, chunk in self._prefilling:
            sequences += 1
            tokens += chunk
            context += sequence.computed + chunk
        return now_ms + self.costs.step_ms(sequences, tokens, context) if sequences else None

    def _schedule_running(self) -> int:
        """Memory for one token of each that decodes, and for the next chunk.

        The budget that is left for those that wait: nothing after a preemption.
        """
        preemptions = self.preemptions
        growing = self._decoders.growing()
        if growing and not self.memory.take(len(growing)):
            last_seat = self._squeeze(sorted(growing, key=_seat))
            if last_seat and not self._has_decoder_before(last_seat):
                return self._schedule_running()  # nobody had a turn: again, with the memory of who lost it
            if last_seat:
                self._pass_over_after(last_seat)
                return 0
        budget = self.config.max_num_batched_tokens - self._decoders.count
        if self._partial is not None and budget > 0:
            budget -= self._next_chunk(self._partial, budget)
        return budget if self.preemptions == preemptions else 0

    def _next_chunk(self, sequence: CountedSequence, budget: int) -> int:
        """Memory for it, and its tokens: all others had their turn."""
        chunk = min(sequence.target - sequence.computed, budget)
        while not self.memory.grow(sequence, chunk):
            victim = self._victim()
            self._preempt(victim, had_turn=True)
            if victim is sequence:
                return 0
        self._prefilling.append((sequence, chunk))
        return chunk

    def _squeeze(self, growing: list[CountedSequence]) -> int:
        """A block for each, as far as preempting yields any.

        The seat of one that had to preempt itself: the step has no turn for those behind it. 0: nobody had.
        """
        for sequence in growing:
            seat = sequence.seat
            while sequence.seat and not self.memory.take(1):
                victim = self._victim()
                self._preempt(victim, had_turn=victim.seat < seat)
                if victim is sequence:
                    return seat
        return 0

    def _has_decoder_before(self, seat: int) -> bool:
        return any(one.decodes and one.seat < seat for one in self._running.values())

    def _pass_over_after(self, seat: int) -> None:
        """Who has a later seat waits for the next step."""
        for sequence in self._running.values():
            if sequence.decodes and sequence.seat > seat:
                tokens = self._decoders.tokens(sequence)
                self._decoders.leave(sequence)
                sequence.computed, sequence.blocks = tokens, self.memory.blocks_of(tokens)
                self._passed_over.append(sequence)

    def _admit_waiting(self, budget: int) -> None:
        while budget > 0 and len(self._running) < self.config.max_num_seqs and self._waiting.line:
            sequence = self._waiting.head
            if hashes := sequence.request.block_hashes:
                self.memory.share(sequence, hashes, sequence.target)
            chunk = min(sequence.target - sequence.computed, budget)
            cached = sequence.computed
            if not self.memory.grow(sequence, chunk):
                self.memory.forget(sequence)
                return
            self._waiting.remove_head()
            self._seats += 1
            sequence.seat = self._seats
            self._running[self._seats] = sequence
            if not sequence.preempted:
                self.prompt_tokens += sequence.request.prompt_tokens
                self.cached_tokens += cached
                sequence.cached_tokens = cached
            self._prefilling.append((sequence, chunk))
            budget -= chunk

    def _finish_step(self, now_ms: float, said: list[Progress]) -> None:
        decoders = self._decoders
        self.decode_ms += (now_ms - self._began_ms) * decoders.count
        self.decode_tokens += decoders.count
        for sequence in decoders.step():
            self._end(sequence, said)
        for sequence, chunk in self._prefilling:
            if not sequence.gone:
                sequence.computed += chunk
                if hashes := sequence.request.block_hashes:
                    self.memory.publish(sequence, hashes)
                self._prefilled(sequence, said)
        if self._passed_over:
            self._let_on(now_ms)

    def _let_on(self, now_ms: float) -> None:
        """Who had no turn goes on as before."""
        self.decode_ms += (now_ms - self._began_ms) * len(self._passed_over)
        for sequence in self._passed_over:
            if not sequence.gone:
                self._decoders.join(sequence)
        self._passed_over = []

    def _prefilled(self, sequence: CountedSequence, said: list[Progress]) -> None:
        """A chunk is computed: when it was the last one, a token is said."""
        if sequence.computed < sequence.target:
            self._partial = sequence
            return
        if sequence is self._partial:
            self._partial = None
        sequence.spoken += 1
        if sequence.spoken == sequence.request.output_tokens:
            self._end(sequence, said)
            return
        if sequence.spoken == 1:
            said.append(Progress(sequence.request.request_id, 1, sequence.cached_tokens, None))
        self._decoders.join(sequence)

    # who leaves

    def _end(self, sequence: CountedSequence, said: list[Progress]) -> None:
        request = sequence.request
        self._leave(sequence, 0)
        finish = Finish.LENGTH if 0 < request.max_tokens <= sequence.spoken else Finish.STOP
        said.append(Progress(request.request_id, sequence.spoken, sequence.cached_tokens, finish))
        sequence.gone = True
        del self._by_id[request.request_id]

    def _victim(self) -> CountedSequence:
        """Who has the least right to its seat: the last one, or the worst by priority."""
        if self._by_priority:
            return max(self._running.values(), key=least_right)
        return next(reversed(self._running.values()))

    def _preempt(self, sequence: CountedSequence, *, had_turn: bool) -> None:
        """Take seat and memory: what was computed is lost."""
        self.preemptions += 1
        sequence.preempted = True
        self._leave(sequence, int(had_turn))
        self._stand_in_line_again(sequence)

    def _leave(self, sequence: CountedSequence, ahead: int) -> None:
        """Take the seat, and the memory of all tokens: of one that decodes, with ``ahead`` of this step."""
        if sequence.decodes:
            sequence.blocks = self.memory.blocks_of(self._decoders.tokens(sequence) + ahead)
            self._decoders.leave(sequence)
        self.memory.forget(sequence)
        self._running.pop(sequence.seat, None)
        sequence.seat = 0
        if sequence is self._partial:
            self._partial = None


def _seat(sequence: CountedSequence) -> int:
    return sequence.seat
