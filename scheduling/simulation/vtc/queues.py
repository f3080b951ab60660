"""The orders in which an engine may take its waiting requests: the paper's and those it is compared with."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from scheduling.core.policy import DEFAULT_WEIGHT
from scheduling.core.usage import COMPLETION_WEIGHT, PROMPT_WEIGHT
from scheduling.simulation.record import Served

MINUTE_MS = 60_000
LEARNING_WINDOW = 5  # the mean moves by a fifth of each error (router/vtc_pred_len_req_queue.py)


class EngineQueue(Protocol):
    """Who is admitted next. The engine asks for the head, and takes it only if it fits."""

    def push(self, served: Served) -> None:
        """One more waits, or is dropped for good."""

    def head(self) -> Served | None:
        """Who is next."""

    def take(self) -> None:
        """The head is admitted."""

    def said(self, served: Served, tokens: int) -> None:
        """An admitted one has said so many more tokens."""


class Fcfs:
    """First come, first served."""

    def __init__(self) -> None:
        self._line: deque[Served] = deque()

    def push(self, served: Served) -> None:
        """One more waits."""
        self._line.append(served)

    def head(self) -> Served | None:
        """The oldest."""
        return self._line[0] if self._line else None

    def take(self) -> None:
        """The head is admitted."""
        self._line.popleft()

    def said(self, served: Served, tokens: int) -> None:
        """Makes no difference."""


class Rpm(Fcfs):
    """First come, first served, of at most ``most`` requests of a tenant in any minute; more are refused."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._accepted: dict[str, deque[int]] = {}

    def push(self, served: Served) -> None:
        """Refuse it when its tenant had its number within the last minute."""
        times = self._accepted.setdefault(served.arrival.tenant, deque())
        while times and served.arrival.at_ms - times[0] > MINUTE_MS:
            times.popleft()
        if len(times) < self._most:
            times.append(served.arrival.at_ms)
            super().push(served)


class Vtc:
    """The Virtual Token Counter of Sheng et al. (OSDI 2024), charged as tokens are said.

    Each tenant has a counter of the service it got, over its weight; the
    least counter goes next. Who comes back from idleness is lifted to the
    least counter of those who wait, or to that of whoever left last.
    Without ``lift`` this is the paper's Least Counter First. It shares no
    code with the core's policies, so that it can also be held against them.
    """

    def __init__(self, weights: Mapping[str, int], *, lift: bool = True) -> None:
        self._weights = weights
        self._lifts = lift
        self._counters: dict[str, float] = {}
        self._lines: dict[str, deque[Served]] = {}  # of those who wait; never empty
        self._left_last = ""

    def push(self, served: Served) -> None:
        """One more waits; the first of its tenant may lift the counter."""
        tenant = served.arrival.tenant
        if tenant not in self._lines:
            own = self._counters.get(tenant, 0.0)
            if self._lifts:
                floor = min(
                    (self._counters[name] for name in self._lines),
                    default=self._counters.get(self._left_last, 0.0),
                )
                own = max(own, floor)
            self._counters[tenant] = own
            self._lines[tenant] = deque()
        self._lines[tenant].append(served)

    def head(self) -> Served | None:
        """The oldest of the tenant with the least counter."""
        return self._lines[self._next()][0] if self._lines else None

    def take(self) -> None:
        """The head is admitted, and its prompt charged."""
        tenant = self._next()
        served = self._lines[tenant].popleft()
        if not self._lines[tenant]:
            del self._lines[tenant]
            self._left_last = tenant
        self._charge(tenant, PROMPT_WEIGHT * served.arrival.prompt_tokens)
        self._admitted(served)

    def said(self, served: Served, tokens: int) -> None:
        """Charge what was said."""
        self._charge(served.arrival.tenant, COMPLETION_WEIGHT * tokens)

    def _admitted(self, served: Served) -> None:
        """For those who charge more at once."""

    def _next(self) -> str:
        return min(self._lines, key=lambda tenant: (self._counters[tenant], tenant))

    def _charge(self, tenant: str, cost: float) -> None:
        self._counters[tenant] += cost / self._weights.get(tenant, DEFAULT_WEIGHT)


class PredictedVtc(Vtc):
    """VTC that charges a predicted answer at admission, more as it exceeds it, and gives back what is left.

    The prediction is the true length, wrong by up to ``error`` of it either way.
    """

    def __init__(self, weights: Mapping[str, int], error: float, seed: int) -> None:
        super().__init__(weights)
        self._error = error
        self._rng = random.Random(seed)  # noqa: S311 the same errors for the same seed, no secret
        self._predicted: dict[int, float] = {}  # by the identity of who runs: tokens paid and not said
        self._left: dict[int, int] = {}

    def said(self, served: Served, tokens: int) -> None:
        """Charge what was said beyond the prediction; at the end, settle."""
        key, tenant = id(served), served.arrival.tenant
        paid = self._predicted[key]
        self._predicted[key] = paid - tokens
        self._charge(tenant, COMPLETION_WEIGHT * (max(0.0, tokens - max(0.0, paid))))
        self._left[key] -= tokens
        if not self._left[key]:
            self._charge(tenant, -COMPLETION_WEIGHT * max(0.0, self._predicted.pop(key)))
            del self._left[key]
            self._ended(served)

    def _admitted(self, served: Served) -> None:
        guess = self._guess(served)
        self._predicted[id(served)] = guess
        self._left[id(served)] = served.arrival.completion_tokens
        self._charge(served.arrival.tenant, COMPLETION_WEIGHT * guess)

    def _guess(self, served: Served) -> float:
        return served.arrival.completion_tokens * self._rng.uniform(1 - self._error, 1 + self._error)

    def _ended(self, served: Served) -> None:
        """For those who learn."""


class LearningVtc(PredictedVtc):
    """VTC that predicts a tenant's answers from its last ones: a mean that moves by a fifth of the error."""

    def __init__(self, weights: Mapping[str, int]) -> None:
        super().__init__(weights, 0.0, 0)
        self._means: dict[str, float] = {}

    def _guess(self, served: Served) -> float:
        return self._means.get(served.arrival.tenant, 0.0)

    def _ended(self, served: Served) -> None:
        arrival = served.arrival
        mean = self._means.get(arrival.tenant, float(arrival.completion_tokens))
        self._means[arrival.tenant] = mean + (arrival.completion_tokens - mean) / LEARNING_WINDOW


Weights = Mapping[str, int]
QUEUES: Mapping[str, Callable[[Weights, int], EngineQueue]] = MappingProxyType(
    {
        "FCFS": lambda weights, seed: Fcfs(),
        "LCF": lambda weights, seed: Vtc(weights, lift=False),
        "VTC": lambda weights, seed: Vtc(weights),
        "VTC predict": lambda weights, seed: LearningVtc(weights),
        "VTC ±50 %": lambda weights, seed: PredictedVtc(weights, 0.5, seed),
        "VTC oracle": lambda weights, seed: PredictedVtc(weights, 0.0, seed),
        "RPM 5": lambda weights, seed: Rpm(5),
        "RPM 10": lambda weights, seed: Rpm(10),
        "RPM 15": lambda weights, seed: Rpm(15),
        "RPM 20": lambda weights, seed: Rpm(20),
        "RPM 30": lambda weights, seed: Rpm(30),
    }
)
