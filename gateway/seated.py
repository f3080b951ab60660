"""The time that a request holds a seat at a backend."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from scheduling.dispatchers.base import Lease

if TYPE_CHECKING:
    from gateway.work import Work


class Seated:
    """From the seat to its return. A class, because a generator costs twice as much."""

    __slots__ = ("_lease", "_work")

    def __init__(self, work: Work, lease: Lease) -> None:
        self._work = work
        self._lease = lease

    def __enter__(self) -> None:
        """It began when this was made."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._work.unseat(self._lease, error)
