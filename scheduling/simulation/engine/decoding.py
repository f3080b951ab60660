"""Sequences past their prompt, counted together: each says one token in every step."""

from __future__ import annotations

from heapq import heappop, heappush

from scheduling.simulation.engine.request import EngineRequest, Placed


class CountedSequence(Placed):
    """A request inside the engine. While it decodes, ``spoken`` leaves out the steps counted so far.

    What it holds of the memory (``Held``) is exact only while it does not decode.
    """

    __slots__ = ("decodes", "preempted", "seat", "spoken")

    def __init__(self, request: EngineRequest, place: tuple[int, int]) -> None:
        super().__init__(request, place)
        self.seat = 0  # the order of admission, while it runs
        self.spoken = 0
        self.decodes = False
        self.preempted = False  # ever

    @property
    def target(self) -> int:
        """Tokens to compute before one is said: after a preemption also those said before."""
        return self.request.prompt_tokens + self.spoken


class Decoders:
    """All that decode: one counter of steps stands for the tokens of all of them.

    Tokens that a sequence has said are ``spoken + steps``. When it fills its
    KV blocks follows from that (its count modulo the block size), and so
    does the step in which it ends. Cost: O(log n) to join, O(1) to leave
    and for a step, and O(log n) for each that ends in it.
    """

    def __init__(self, block_size: int) -> None:
        self.steps = 0
        self.count = 0
        self.computed = 0  # tokens in memory of all of them
        # By the step, modulo the block size, in which each needs one more block.
        self._growing: list[dict[CountedSequence, None]] = [{} for _ in range(block_size)]
        self._ends: list[tuple[int, int, CountedSequence]] = []  # step, seat

    def join(self, sequence: CountedSequence) -> None:
        """Its prompt is computed, and a token said."""
        sequence.decodes = True
        sequence.spoken -= self.steps
        self.count += 1
        self.computed += sequence.computed
        self._growing_with(sequence)[sequence] = None
        heappush(self._ends, (sequence.request.output_tokens - sequence.spoken, sequence.seat, sequence))

    def leave(self, sequence: CountedSequence) -> None:
        """It ended, lost its seat or its turn, or its client left: ``spoken`` is exact again."""
        self.count -= 1
        self.computed -= self.tokens(sequence)
        del self._growing_with(sequence)[sequence]
        sequence.decodes = False
        sequence.spoken += self.steps

    def step(self) -> list[CountedSequence]:
        """Each said one more token; who said its last, in the order of seats, and still has to leave."""
        self.steps += 1
        self.computed += self.count
        ended: list[CountedSequence] = []
        while self._ends and self._ends[0][0] <= self.steps:
            ends, _, sequence = heappop(self._ends)
            # Else it is gone, or it lost its seat or its turn since: then it decodes to a later end.
            if sequence.decodes and sequence.request.output_tokens - sequence.spoken == ends:
                ended.append(sequence)
        return ended

    def growing(self) -> dict[CountedSequence, None]:
        """Who needs one more KV block for the next step."""
        return self._growing[self.steps % len(self._growing)]

    def tokens(self, sequence: CountedSequence) -> int:
        """In memory, of one that decodes: all but the token that it said last."""
        return sequence.request.prompt_tokens + sequence.spoken + self.steps - 1

    def _growing_with(self, sequence: CountedSequence) -> dict[CountedSequence, None]:
        return self._growing[(1 - sequence.request.prompt_tokens - sequence.spoken) % len(self._growing)]
