"""A request's part of the quotas for as long as a test wants it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from gateway.ledger import Ledger
from gateway.records import Record
from scheduling.core.quota import Granted


@dataclass
class Held:
    """What is granted until the end of a ``with`` block: then it is settled by the record."""

    ledger: Ledger
    granted: Granted
    record: Record

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ledger.settle(self.granted, self.record)
