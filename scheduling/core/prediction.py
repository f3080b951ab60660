"""How long an answer will be, before anybody knows."""

from __future__ import annotations

from collections import OrderedDict, deque

COLD_START_TOKENS = 256  # a first guess when a pool has answered nothing yet
MEMORY = 16  # answers that a mean looks back on: fewer follow chance, more are slow to see a new habit
MEDIAN_OF = 51  # latest answers of a pool
REFRESH_EVERY = 8  # answers between two sorts of the median's window
MAX_PAIRS = 10_000  # tenants x models remembered; the least recently used is forgotten
CHARS_PER_TOKEN = 4  # the usual rule of thumb for English text


class Estimates:
    """Expected completion tokens per tenant and model, learnt from its answers.

    The mean of the latest: every answer moves it by 1/2, 1/3 … and later by
    1/16. The pool's median counts as the first answer of a pair that never
    answered; where nobody ever did, the first guess is 256. Answers of one
    tenant differ widely, so a mean over few of them is wrong by more, and by
    so much its flow is charged too early or too late.
    """

    def __init__(self) -> None:
        self._mean: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        self._recent: dict[str, deque[int]] = {}
        self._median: dict[str, int] = {}
        self._learnt = 0

    def completion_tokens(self, tenant: str, model: str, pool: str) -> int:
        """The estimate for the next answer, at least 1."""
        known = self._mean.get((tenant, model))
        if known is None:
            return self._median.get(pool, COLD_START_TOKENS)
        return max(1, round(known[0]))

    def learn(self, tenant: str, model: str, pool: str, completion_tokens: int) -> None:
        """One answer had this many tokens."""
        pair = (tenant, model)
        median = self._median.get(pool)
        mean, seen = self._mean.get(pair) or ((median, 1) if median else (completion_tokens, 0))
        seen = min(seen + 1, MEMORY)
        self._mean[pair] = (mean + (completion_tokens - mean) / seen, seen)
        self._mean.move_to_end(pair)
        if len(self._mean) > MAX_PAIRS:
            self._mean.popitem(last=False)
        self._learn_pool(pool, completion_tokens)

    def _learn_pool(self, pool: str, completion_tokens: int) -> None:
        recent = self._recent.get(pool)
        if recent is None:
            recent = self._recent[pool] = deque(maxlen=MEDIAN_OF)
        recent.append(completion_tokens)
        self._learnt += 1
        if len(recent) <= REFRESH_EVERY or self._learnt % REFRESH_EVERY == 0:
            self._median[pool] = max(1, sorted(recent)[len(recent) // 2])
