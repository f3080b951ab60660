"""What is written down about a request when it begins and when it ends."""

from __future__ import annotations

from collections.abc import Callable

from gateway.first_tokens import FirstTokens
from gateway.going import Going
from gateway.journal import Journal
from gateway.metrics import Metrics
from gateway.records import Record
from scheduling.core.outcome import Outcome
from scheduling.core.prediction import Estimates

OK = Outcome.OK.value


class Books:
    """The journal, the counters, and what is learnt for the next estimate."""

    def __init__(self, journal: Journal) -> None:
        self.metrics = Metrics()
        self.estimates = Estimates()
        self.going = Going()
        self.first_tokens = FirstTokens()
        self._journal = journal
        self._write_end = journal.end
        # A request begins. Raises JournalFull, and nothing is written.
        self.accept: Callable[[Record], None] = journal.accept

    @property
    def unsettled(self) -> int:
        """Requests whose end is not on disk yet."""
        return self._journal.unsettled

    def end(self, record: Record) -> None:
        """A request has its outcome."""
        self._write_end(record)
        self.metrics.ended(record)
        self.first_tokens.learn(record)
        if record.outcome == OK and record.completion_tokens:
            self.estimates.learn(record.tenant, record.model, record.pool, record.completion_tokens)
