"""What goes on here, by tenant, and what has just ended: an owner finds it without a database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gateway.client import Client
from gateway.headers import RequestId
from gateway.own.errors import CancelledByOwner
from gateway.records import Record

REMEMBERED = 2000  # ended requests, at least, until a twofold of them: records reach Postgres long before


class Held(NamedTuple):
    """A request of which this process knows: its record, and what its client calls it."""

    record: Record
    clients_id: str


_Going = tuple[Record, Client]  # plain tuples: every request makes two
_Ended = tuple[Record, RequestId]


class Going:
    """Accepted requests of this process. Entering and leaving is all that a request pays for it."""

    def __init__(self) -> None:
        self._tenants: dict[str, dict[str, _Going]] = {}
        self._ended: dict[str, _Ended] = {}
        self._ended_before: dict[str, _Ended] = {}

    def enter(self, record: Record, client: Client) -> None:
        """The request is accepted."""
        own = self._tenants.get(record.tenant)
        if own is None:
            own = self._tenants[record.tenant] = {}
        own[record.request_id] = (record, client)

    def leave(self, record: Record) -> None:
        """It is over; its outcome is about to be written into the record."""
        name = record.request_id
        _, client = self._tenants[record.tenant].pop(name)
        ended = self._ended
        if len(ended) >= REMEMBERED:
            ended = self._forget()
        ended[name] = (record, client.request_id)

    def _forget(self) -> dict[str, _Ended]:
        """What ended longest ago; and tenants of which nothing goes on, who may never come again."""
        self._tenants = {tenant: own for tenant, own in self._tenants.items() if own}
        self._ended_before, self._ended = self._ended, {}
        return self._ended

    def of(self, tenant: str) -> list[Held]:
        """What waits or runs of the tenant's, in the order of acceptance."""
        own = self._tenants.get(tenant, {})
        return [_held(record, client.request_id) for record, client in own.values()]

    def find(self, tenant: str, name: str) -> Held | None:
        """The tenant's request of that id: ours, or the client's own; of several the last that came.

        One that goes on before one that has ended.
        """
        shown, own = name.encode(), self._tenants.get(tenant, {})
        going = own.get(name) or _last(each for each in own.values() if each[1].request_id.shown == shown)
        if going is not None:
            return _held(going[0], going[1].request_id)
        for ended in (self._ended, self._ended_before):
            if found := _find_ended(ended, tenant, name):
                return found
        return None

    def cancel(self, tenant: str, request_id: str) -> bool:
        """Take the request out of line, or off its engine, for its owner. False when it ends already."""
        going = self._tenants.get(tenant, {}).get(request_id)
        if going is None or going[1].ended:
            return False
        return going[1].evict(CancelledByOwner())


def _last(found: Iterable[_Going]) -> _Going | None:
    last = None
    for last in found:  # noqa: B007 - the last one is wanted
        pass
    return last


def _find_ended(ended: dict[str, _Ended], tenant: str, name: str) -> Held | None:
    shown = name.encode()
    exact = ended.get(name)
    if exact is not None and exact[0].tenant == tenant:
        return _held(*exact)
    for record, request_id in reversed(ended.values()):
        if request_id.shown == shown and record.tenant == tenant:
            return _held(record, request_id)
    return None


def _held(record: Record, request_id: RequestId) -> Held:
    return Held(record, request_id.shown.decode())
