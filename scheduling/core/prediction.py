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
        self._means: OrderedDict[tuple[str, str], Mean] = OrderedDict()
        self._latest: dict[str, Latest] = {}

    def forecast(self, tenant: str, model: str, pool: str) -> tuple[int, int]:
        """The estimate for the tenant's next answer, and the pool's median, each at least 1."""
        latest = self._latest.get(pool)
        median = COLD_START_TOKENS if latest is None else latest.median
        try:
            mean = round(self._means[tenant, model].tokens)
        except KeyError:
            return median, median
        return mean if mean > 1 else 1, median

    def completion_tokens(self, tenant: str, model: str, pool: str) -> int:
        """The estimate for the tenant's next answer."""
        return self.forecast(tenant, model, pool)[0]

    def median_tokens(self, pool: str) -> int:
        """The median of the pool's 200 latest answers, at least 1; 256 before the first."""
        latest = self._latest.get(pool)
        return COLD_START_TOKENS if latest is None else latest.median

    def learn(self, tenant: str, model: str, pool: str, completion_tokens: int) -> None:
        """One answer had this many tokens."""
        pair, latest = (tenant, model), self._latest.get(pool)
        mean = self._means.get(pair)
        if mean is None:
            mean = Mean(completion_tokens, 0) if latest is None else Mean(latest.median, 1)
            self._means[pair] = mean
            if len(self._means) > MAX_PAIRS:
                self._means.popitem(last=False)
        else:
            self._means.move_to_end(pair)
        if mean.seen < MEMORY:
            mean.seen += 1
        mean.tokens += (completion_tokens - mean.tokens) / mean.seen
        if latest is None:
            latest = self._latest[pool] = Latest()
        latest.add(completion_tokens)


class Mean:
    """The mean length of the latest ``seen`` answers of one pair."""

    __slots__ = ("seen", "tokens")

    def __init__(self, tokens: float, seen: int) -> None:
        self.tokens = tokens
        self.seen = seen


class Latest:
    """The latest answers of one pool, in order of their coming and of their length.

    ``median``: the upper one of two, at least 1; at least one answer was added.
    """

    __slots__ = ("_by_age", "_by_length", "median")

    median: int

    def __init__(self) -> None:
        self._by_age: deque[int] = deque(maxlen=MEDIAN_OF)
        self._by_length: list[int] = []

    def add(self, tokens: int) -> None:
        """One more; from the 201st on, the oldest is forgotten."""
        ages, lengths = self._by_age, self._by_length
        if len(lengths) == MEDIAN_OF:
            oldest = ages[0]
            ages.append(tokens)  # and the oldest is gone
            if oldest == tokens:
                return  # as of answers that all end at their limit: no length has changed
            del lengths[bisect_left(lengths, oldest)]
        else:
            ages.append(tokens)
        insort(lengths, tokens)
        median = lengths[len(lengths) // 2]
        self.median = median if median > 1 else 1
