"""How soon a model begins to answer at its best, and who need not ask it any more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from gateway.errors import QueueTimeout
from gateway.records import Record
from scheduling.core.ticket import Ticket
from scheduling.dispatchers.base import Lease

FOREVER_S = float("inf")
LATELY_S = 60.0  # the best of the last one to two of these counts


class FirstTokens:
    """The shortest times from dispatch to the first token, or to the head of a whole answer, by model.

    The best and not the mean: it refuses only those who would surely be late,
    and is forgotten when an engine has become slower. ``catch_up`` has it
    learn of what ended lately.
    """

    def __init__(
        self, catch_up: Callable[[], None] = lambda: None, now_s: Callable[[], float] = monotonic
    ) -> None:
        self._catch_up = catch_up
        self._now_s = now_s
        self._since_s = now_s()
        self._best_s: dict[str, float] = {}
        self._before_s: dict[str, float] = {}

    def learn(self, records: Sequence[Record]) -> None:
        """Requests have ended."""
        now_s = self._now_s()
        if now_s - self._since_s >= LATELY_S:
            self._since_s, self._before_s, self._best_s = now_s, self._best_s, {}
        best_s = self._best_s
        for record in records:
            first_s, dispatched_s = record.first_token_at, record.dispatched_at
            if first_s is not None and dispatched_s is not None:
                span_s = first_s - dispatched_s
                if span_s < best_s.get(record.model, FOREVER_S):
                    best_s[record.model] = span_s

    def best_s(self, model: str) -> float:
        """The best of late; 0 while none is known."""
        known = [best_s for best in (self._best_s, self._before_s) if (best_s := best.get(model)) is not None]
        return max(0.0, min(known)) if known else 0.0

    def check(self, ticket: Ticket, patience_ms: int | None, lease: Lease) -> None:
        """Give the seat back, and raise QueueTimeout, when a client will not see its first token."""
        if patience_ms is None:
            return
        left_ms = ticket.queued_ms + patience_ms - self._now_s() * 1000
        best_ms = self.best_s(ticket.model) * 1000
        if not best_ms or left_ms < best_ms:  # what ended lately can only have been better
            self._catch_up()
            best_ms = self.best_s(ticket.model) * 1000
        if left_ms < best_ms:
            lease.refund = True
            raise QueueTimeout(
                f"The request's own deadline is {max(0.0, left_ms):.0f} ms away, and {ticket.model} needs"
                f" {best_ms:.0f} ms to its first token at its best of late. It was not sent to an engine."
            )
