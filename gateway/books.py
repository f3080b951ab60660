"""What is written down about a request when it begins and when it ends."""

from __future__ import annotations

from collections.abc import Callable

from gateway.first_tokens import FirstTokens
from gateway.going import Going
from gateway.journal import Journal, Soon
from gateway.metrics import Metrics
from gateway.records import Record
from scheduling.core.outcome import Outcome
from scheduling.core.prediction import Estimates

OK = Outcome.OK.value
REMEMBERED = 3000  # ended requests, at least
MOST_FRESH = 128  # ended requests that are not counted yet: together it costs a third, and waits for nothing


class Books:
    """The journal, the counters, and what is learnt for the next estimate."""

    def __init__(self, journal: Journal) -> None:
        self._ended: list[Record] = []  # the last of them
        self._counted = 0  # of these
        self._count_at = MOST_FRESH
        self.metrics = Metrics(self.count)
        self.estimates = Estimates()
        self.first_tokens = FirstTokens(self.count)
        self.going = Going(journal.running, self._ended)
        self._journal = journal
        # A request begins. Raises JournalFull, and nothing is written.
        self.accept: Callable[[Record], None] = journal.accept

    @property
    def unsettled(self) -> int:
        """Requests whose end is not on disk yet."""
        return self._journal.unsettled

    def write_ends(self, soon: Soon) -> None:
        """Have ends written by this call: that of the event loop writes those of a turn together."""
        self._journal.soon = soon

    def end(self, record: Record, answers: int = 1) -> None:
        """A request has its outcome. What is learnt of several ``answers`` is the length of one."""
        self._journal.end(record)
        ended = self._ended
        ended.append(record)
        if len(ended) >= self._count_at:
            self.count()
        if record.outcome == OK and record.completion_tokens:
            tokens = record.completion_tokens // answers
            self.estimates.learn(record.tenant, record.model, record.pool, tokens)

    def count(self) -> None:
        """Count what has ended since the last time, for whoever wants to know now."""
        ended = self._ended
        fresh = ended[self._counted :]
        del ended[:-REMEMBERED]
        self._counted = len(ended)
        self._count_at = self._counted + MOST_FRESH
        self.metrics.count(fresh)
        self.first_tokens.learn(fresh)
