"""An engine that schedules inside, as S-LoRA does: admission by future memory, prefill before decode."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

from scheduling.simulation.engine.profiles import StepCosts
from scheduling.simulation.record import Served
from scheduling.simulation.scenario import Workload
from scheduling.simulation.vtc.queues import EngineQueue

BATCH_MAX_TOKENS = 3_072  # prompts of one prefill
DECODES_BEFORE_ADMISSION = 10  # router/manager.py, max_wait_tokens


@dataclass(slots=True)
class _Running:
    """A sequence in the batch. ``ends`` counts decode steps since the beginning of the run."""

    served: Served
    ends: int  # the step that says the last token
    offset: int  # tokens in memory less steps made


class InEngine:
    """One workload against one queue, until the last answer has ended.

    The rules of S-LoRA's router, which the paper's figures come from: a
    request is admitted if, with every sequence growing to its full length,
    the memory never overflows; the head that does not fit is not passed; new
    prompts are computed in a step of their own, in which nobody else says a
    token; after an admission ten decode steps are made before the next is
    tried. All lengths are known to the engine, as in the experiments.
    Decode steps between two events are made in one leap.
    """

    def __init__(self, workload: Workload, queue: EngineQueue, costs: StepCosts | None = None) -> None:
        self.served: list[Served] = []
        self._arrivals = workload.arrivals
        self._queue = queue
        self._costs = costs or workload.engines[0].costs()
        self._batch: list[_Running] = []  # the last to end first
        self._now_ms = 0.0
        self._steps = 0  # decode steps made
        self._try_at = 0  # the step from which admission is tried

    def run(self) -> list[Served]:
        """Play it to the end; what became of each request, in order of arrival.

        Raises ValueError when a request would not fit even alone.
        """
        while True:
            self._take_arrivals()
            if (not self._batch or self._steps >= self._try_at) and (admitted := self._admit()):
                self._prefill(admitted)
            elif self._batch:
                self._decode()
            elif head := self._queue.head():
                arrival = head.arrival
                raise ValueError(
                    f"{arrival.prompt_tokens} + {arrival.completion_tokens} tokens never fit: a prompt may "
                    f"have {BATCH_MAX_TOKENS} tokens, memory holds fewer than {self._costs.kv_tokens}"
                )
            elif len(self.served) < len(self._arrivals):
                self._now_ms = self._arrivals[len(self.served)].at_ms
            else:
                return self.served

    def _take_arrivals(self) -> None:
        while len(self.served) < len(self._arrivals):
            arrival = self._arrivals[len(self.served)]
            if arrival.at_ms > self._now_ms:
                return
            served = Served(arrival)
            self.served.append(served)
            self._queue.push(served)

    def _admit(self) -> list[_Running]:
        admitted: list[_Running] = []
        prompts = 0
        while head := self._queue.head():
            arrival = head.arrival
            prompts += arrival.prompt_tokens
            one = _Running(
                head, self._steps + arrival.completion_tokens - 1, arrival.prompt_tokens + 1 - self._steps
            )
            if prompts > BATCH_MAX_TOKENS or not self._fits(one):
                break
            self._queue.take()
            insort(self._batch, one, key=_last_first)
            head.seated_ms = self._now_ms
            admitted.append(one)
        return admitted

    def _fits(self, one: _Running) -> bool:
        """Whether memory holds at each of the moments at which a sequence is about to end.

        As in router/req_queue.py: what a running one says last is never stored.
        """
        batch = self._batch.copy()
        insort(batch, one, key=_last_first)
        held = 0
        for count, running in enumerate(batch, 1):
            held += running.offset + self._steps
            left = running.ends - self._steps - (0 if running is one else 1)
            if held + count * left >= self._costs.kv_tokens:
                return False
        return True

    def _prefill(self, admitted: list[_Running]) -> None:
        prompts = sum(one.served.arrival.prompt_tokens for one in admitted)
        self._now_ms += self._costs.step_ms(len(admitted), prompts, prompts)
        for one in admitted:
            one.served.first_token_ms = self._now_ms
            self._queue.said(one.served, 1)
        self._end_finished()
        self._try_at = self._steps + DECODES_BEFORE_ADMISSION

    def _decode(self) -> None:
        """Steps until one ends, somebody arrives, or admission may be tried."""
        count = len(self._batch)
        context = sum(one.offset for one in self._batch) + count * self._steps
        until = self._batch[-1].ends
        if self._queue.head():
            until = min(until, max(self._try_at, self._steps + 1))
        following = len(self.served)
        arrives_ms = self._arrivals[following].at_ms if following < len(self._arrivals) else float("inf")
        made, now_ms = 0, self._now_ms
        while self._steps + made < until and now_ms < arrives_ms:
            now_ms += self._costs.step_ms(count, count, context)
            context += count
            made += 1
        self._now_ms = now_ms
        self._steps += made
        for one in self._batch:
            self._queue.said(one.served, made)
        self._end_finished()

    def _end_finished(self) -> None:
        while self._batch and self._batch[-1].ends <= self._steps:
            self._batch.pop().served.ended_ms = self._now_ms


def play(workload: Workload, queue: EngineQueue) -> list[Served]:
    """What becomes of every request when the engine orders them by this queue."""
    return InEngine(workload, queue).run()


def _last_first(one: _Running) -> int:
    return -one.ends
