"""How long an answer will be, before anybody knows."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict, deque

COLD_START_TOKENS = 256  # a first guess when a pool has answered nothing yet
MEMORY = 16  # answers that a mean looks back on: fewer follow chance, more are slow to see a new habit
MEDIAN_OF = 200  # latest answers of a pool
MAX_PAIRS = 10_000  # tenants x models remembered; the least recently used is forgotten
CHARS_PER_TOKEN = 4  # the usual rule of thumb for English text


class Estimates:
    """Expected completion tokens, learnt from answers: of the next of a tenant, and of any in a pool.

    A tenant's, per model, is the mean of its latest: every answer moves it by
    1/2, 1/3 … and later by 1/16. The pool's median counts as the first answer
    of a pair that never answered; where nobody ever did, the first guess is
    256. Answers of one tenant differ widely, so a mean over few of them is
    wrong by more, and by so much its flow is charged too early or too late.

    An engine's memory holds answers of the whole pool, and what they reserve
    grows as they do, so there one that is long need not be foreseen: the
    pool's median counts. A mean would leave memory empty for those few.
    """

    def __init__(self) -> None:
        self._mean: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        self._latest: dict[str, Latest] = {}

    def completion_tokens(self, tenant: str, model: str, pool: str) -> int:
        """The estimate for the next answer, at least 1."""
        known = self._mean.get((tenant, model))
        return self.median_tokens(pool) if known is None else max(1, round(known[0]))

    def median_tokens(self, pool: str) -> int:
        """The median of the pool's 200 latest answers, at least 1; 256 before the first."""
        latest = self._latest.get(pool)
        return COLD_START_TOKENS if latest is None else latest.median

    def learn(self, tenant: str, model: str, pool: str, completion_tokens: int) -> None:
        """One answer had this many tokens."""
        pair, latest = (tenant, model), self._latest.get(pool)
        mean, seen = self._mean.get(pair) or (
            (completion_tokens, 0) if latest is None else (latest.median, 1)
        )
        seen = min(seen + 1, MEMORY)
        self._mean[pair] = (mean + (completion_tokens - mean) / seen, seen)
        self._mean.move_to_end(pair)
        if len(self._mean) > MAX_PAIRS:
            self._mean.popitem(last=False)
        if latest is None:
            latest = self._latest[pool] = Latest()
        latest.add(completion_tokens)


class Latest:
    """The latest answers of one pool, in order of their coming and of their length.

    ``median``: the upper one of two, at least 1; at least one answer was added.
    """

    __slots__ = ("_by_age", "_by_length", "median")

    median: int

    def __init__(self) -> None:
        self._by_age: deque[int] = deque()
        self._by_length: list[int] = []

    def add(self, tokens: int) -> None:
        """One more; from the 201st on, the oldest is forgotten."""
        lengths = self._by_length
        if len(lengths) == MEDIAN_OF:
            del lengths[bisect_left(lengths, self._by_age.popleft())]
        self._by_age.append(tokens)
        insort(lengths, tokens)
        self.median = max(1, lengths[len(lengths) // 2])
