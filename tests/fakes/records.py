"""Records for a journal, and a Postgres that stores like the real one: once per request id."""

from __future__ import annotations

from itertools import count

from gateway.records import Away, Record, Unstorable
from scheduling.core.outcome import Outcome

numbers = count()


class Postgres:
    """What a journal hands its batches to."""

    def __init__(self):
        self.rows = {}
        self.away = False
        self.refuses = set()
        self.batches = []

    def __call__(self, records):
        if self.away:
            raise Away("away")
        if self.refuses & {record.request_id for record in records}:
            raise Unstorable("refused")
        self.batches.append(len(records))
        for record in records:
            self.rows.setdefault(record.request_id, record)


def record(name=""):
    """A request that runs."""
    return Record(
        name or f"r{next(numbers)}", 1.0, "research", "m", "standard", "/v1/completions", stream=False
    )


def ended(entry, outcome=Outcome.OK):
    """The same request at its end."""
    entry.outcome, entry.ended_at, entry.status = str(outcome), 2.0, 200
    return entry
