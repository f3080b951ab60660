"""What goes on here, by tenant, and what has just ended: an owner finds it without a database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gateway.client import Client
from gateway.own.errors import CancelledByOwner
from gateway.records import Record

REMEMBERED = 2000  # ended requests, at least, until a twofold of them: records reach Postgres long before


class Held(NamedTuple):
    """A request of which this process knows: its record, and what its client calls it."""

    record: Record
    clients_id: str


class _Going(NamedTuple):
    record: Record
    client: Client


class Going:
    """Accepted requests of this process. Entering and leaving is all that a request pays for it."""

    def __init__(self) -> None:
        self._tenants: dict[str, dict[str, _Going]] = {}
        self._ended: dict[str, Held] = {}
        self._ended_before: dict[str, Held] = {}

    def enter(self, record: Record, client: Client) -> None:
        """The request is accepted."""
        own = self._tenants.get(record.tenant)
        if own is None:
            own = self._tenants[record.tenant] = {}
        own[record.request_id] = _Going(record, client)

    def leave(self, record: Record) -> None:
        """It is over; its outcome is about to be written into the record."""
        own = self._tenants[record.tenant]
        going = own.pop(record.request_id)
        if not own:
            del self._tenants[record.tenant]
        if len(self._ended) >= REMEMBERED:
            self._ended_before, self._ended = self._ended, {}
        self._ended[record.request_id] = Held(record, going.client.request_id.shown.decode())

    def of(self, tenant: str) -> list[Held]:
        """What waits or runs of the tenant's, in the order of acceptance."""
        own = self._tenants.get(tenant, {})
        return [Held(record, client.request_id.shown.decode()) for record, client in own.values()]

    def find(self, tenant: str, name: str) -> Held | None:
        """The tenant's request of that id: ours, or the client's own; of several the last that came.

        One that goes on before one that has ended.
        """
        going = self._going(tenant, name)
        if going is not None:
            return Held(going.record, going.client.request_id.shown.decode())
        for ended in (self._ended, self._ended_before):
            if found := _find_ended(ended, tenant, name):
                return found
        return None

    def cancel(self, tenant: str, request_id: str) -> bool:
        """Take the request out of line, or off its engine, for its owner. False when it ends already."""
        going = self._tenants.get(tenant, {}).get(request_id)
        if going is None or going.client.ended:
            return False
        return going.client.evict(CancelledByOwner())

    def _going(self, tenant: str, name: str) -> _Going | None:
        own = self._tenants.get(tenant)
        if own is None:
            return None
        shown = name.encode()
        return own.get(name) or _last(each for each in own.values() if each.client.request_id.shown == shown)


def _last(found: Iterable[_Going]) -> _Going | None:
    last = None
    for last in found:  # noqa: B007 - the last one is wanted
        pass
    return last


def _find_ended(ended: Mapping[str, Held], tenant: str, name: str) -> Held | None:
    held = ended.get(name)
    if held is not None and held.record.tenant == tenant:
        return held
    for held in reversed(list(ended.values())):
        if held.clients_id == name and held.record.tenant == tenant:
            return held
    return None
