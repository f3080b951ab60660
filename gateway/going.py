"""What goes on here, and what has just ended: an owner finds it without a database."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.records import Record


class Going:
    """Accepted requests of this process, as the books keep them: it costs a request nothing.

    ``running`` are those that have no end yet, by their ids, and ``ended`` the
    last that have one: records reach Postgres long before they are forgotten
    here. Both are in the order in which it happened.
    """

    def __init__(self, running: dict[str, Record], ended: list[Record]) -> None:
        self._running = running
        self._ended = ended

    def of(self, tenant: str) -> list[Record]:
        """What waits or runs of the tenant's, in the order of acceptance."""
        return [record for record in self._running.values() if record.tenant == tenant]

    def find(self, tenant: str, name: str) -> Record | None:
        """The tenant's request of that id: ours, or the client's own; of several the last that came.

        One that goes on before one that has ended.
        """
        return _last(reversed(self._running.values()), tenant, name) or _last(
            reversed(self._ended), tenant, name
        )


def _last(records: Iterable[Record], tenant: str, name: str) -> Record | None:
    """The one that has this id of ours, or else the first that its client calls so."""
    theirs = None
    for record in records:
        if record.tenant != tenant:
            continue
        if record.request_id == name:
            return record
        if theirs is None and record.client_request_id == name:
            theirs = record
    return theirs
