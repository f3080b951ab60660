"""The time that a request holds a seat at a backend."""

from __future__ import annotations

from time import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from scheduling.dispatchers.base import Lease

if TYPE_CHECKING:
    from gateway.work import Work


class Seated:
    """From the seat to its return. A class, because a generator costs twice as much."""

    __slots__ = ("_lease", "_work")

    def __init__(self, work: Work, lease: Lease) -> None:
        self._work = work
        self._lease = lease

    def __enter__(self) -> Self:
        return self

    def started(self) -> None:
        """The first token passed."""
        record = self._work.record
        if record.first_token_at is None:
            record.first_token_at = time()
        self._lease.started()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._work.unseat(self._lease, error)
