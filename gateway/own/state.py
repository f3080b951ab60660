"""What one gateway process remembers of its consumers, beside their requests."""

from __future__ import annotations

from gateway.ledger import Ledger
from gateway.own.idempotency import Idempotency
from gateway.own.reads import Reads
from gateway.own.retries import Retries
from gateway.own.status_rate import StatusRate
from gateway.settings import Settings


class Own:
    """Counters and kept answers; all of it in memory, bounded, and lost with the process."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.ledger = ledger
        self.status_rate = StatusRate(settings.status_per_s)
        self.retries = Retries(settings.retry_ratio, settings.retry_floor)
        self.idempotency = Idempotency(
            settings.idempotency_s, settings.idempotency_entries, settings.idempotency_bytes
        )
        self.reads = Reads()

    def tidy(self) -> None:
        """Forget what is over; from time to time."""
        self.idempotency.tidy()

    def close(self) -> None:
        """The gateway has ended."""
        self.reads.close()
