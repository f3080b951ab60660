"""What a request's record says of the error with which it ended."""

from __future__ import annotations

import asyncio

from gateway.client import Client
from gateway.engine_errors import outcome_of
from gateway.errors import Draining, Refused
from gateway.records import Record
from scheduling.core.outcome import Outcome

CLIENT_GONE = 499  # nginx's word for it, in records only


def how_it_ended(error: BaseException, client: Client, record: Record) -> tuple[Outcome, int]:
    """The outcome and the status."""
    if isinstance(error, Refused):
        return outcome_of(error), 200 if client.began else client.dialect.status(error)
    if isinstance(error, asyncio.CancelledError):
        if client.slow:
            return Outcome.SLOW_CLIENT, CLIENT_GONE
        if client.gone:
            seen = record.dispatched_at is not None
            return Outcome.CLIENT_GONE_STREAMING if seen else Outcome.CLIENT_GONE_QUEUED, CLIENT_GONE
        why = client.evicted or Draining()
        return outcome_of(why), 200 if client.began else why.status
    return Outcome.INTERNAL, 200 if client.began else 500
