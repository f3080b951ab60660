"""How long an answer will be, before anybody knows."""

from __future__ import annotations

from collections import OrderedDict, deque

COLD_START_TOKENS = 256  # a first guess when a pool has answered nothing yet
EMA_WINDOW = 5  # answers; recent habits of a tenant predict its next answer best
MEDIAN_OF = 51  # latest answers of a pool
REFRESH_EVERY = 8  # answers between two sorts of the median's window
MAX_PAIRS = 10_000  # tenants x models remembered; the least recently used is forgotten
CHARS_PER_TOKEN = 4  # the usual rule of thumb for English text


class Estimates:
    """Expected completion tokens per tenant and model, learnt from its latest answers.

    An exponential mean over a window of five answers; a pair that never
    answered starts from its pool's median, and a silent pool from 256.
    """

    def __init__(self) -> None:
        self._mean: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._recent: dict[str, deque[int]] = {}
        self._median: dict[str, int] = {}
        self._learnt = 0

    def completion_tokens(self, tenant: str, model: str, pool: str) -> int:
        """The estimate for the next answer, at least 1."""
        mean = self._mean.get((tenant, model))
        return max(1, round(mean)) if mean is not None else self._median.get(pool, COLD_START_TOKENS)

    def learn(self, tenant: str, model: str, pool: str, completion_tokens: int) -> None:
        """One answer had this many tokens."""
        pair = (tenant, model)
        before = self._mean.get(pair)
        if before is None:
            self._mean[pair] = completion_tokens
            if len(self._mean) > MAX_PAIRS:
                self._mean.popitem(last=False)
        else:
            self._mean[pair] = before + (completion_tokens - before) * 2 / (EMA_WINDOW + 1)
            self._mean.move_to_end(pair)
        self._learn_pool(pool, completion_tokens)

    def _learn_pool(self, pool: str, completion_tokens: int) -> None:
        recent = self._recent.get(pool)
        if recent is None:
            recent = self._recent[pool] = deque(maxlen=MEDIAN_OF)
        recent.append(completion_tokens)
        self._learnt += 1
        if len(recent) <= REFRESH_EVERY or self._learnt % REFRESH_EVERY == 0:
            self._median[pool] = max(1, sorted(recent)[len(recent) // 2])
