"""``/v1/requests``: what waits and runs of the tenant's, how a request went, and cancelling one."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec

from gateway.errors import Invalid, NotFound
from gateway.own.errors import RequestNotFound
from gateway.own.shown import ended, going
from gateway.own.stored import stored
from gateway.records import Record
from gateway.visit import Visit, limit_of

MOST_LISTED = 200
NAME = re.compile(r"[A-Za-z0-9._:~-]{1,128}")  # our ids, and those that clients may give
STATES = ("queued", "running")
END_TICK_S = 0.005
END_TICKS = 200  # a cancelled request ends within microseconds, unless its client reads slowly


async def answer(visit: Visit) -> None:
    """``/v1/requests``, ``/v1/requests/{id}`` and ``/v1/requests/{id}/cancel``."""
    name, _, verb = visit.rest.partition("/")
    if verb not in ("", "cancel") or (not name and visit.rest):
        raise NotFound
    if verb:
        visit.post_only()
    else:
        visit.read_only()
    visit.gateway.own.status_rate.ask(visit.caller.token_id)
    if not name:
        await visit.say(msgspec.json.encode(_listed(visit)))
        return
    visit.asked()
    if not NAME.fullmatch(name):
        raise RequestNotFound
    shown = await (_cancel(visit, name) if verb else _one(visit, name))
    await visit.say(msgspec.json.encode(shown))


def _listed(visit: Visit) -> dict[str, Any]:
    """What waits and runs, in the order of acceptance, from ``after`` on."""
    asked = visit.asked("limit", "after", "state")
    most, state, after = limit_of(asked, MOST_LISTED, MOST_LISTED), _state(asked), asked.get("after", "")
    records = visit.gateway.books.going.of(visit.caller.tenant)
    if after:
        ids = [each.request_id for each in records]
        # One that has ended meanwhile stands nowhere: then who follows it is told from the beginning.
        records = records[ids.index(after) + 1 :] if after in ids else records
    if state:
        records = [each for each in records if (each.dispatched_at is None) == (state == STATES[0])]
    data = [going(visit.gateway.dispatcher, each) for each in records[:most]]
    return {"object": "list", "data": data, "has_more": len(records) > most}


async def _one(visit: Visit, name: str) -> dict[str, Any]:
    """The request as it stands: here, or in the usage records. Raises RequestNotFound."""
    tenant = visit.caller.tenant
    record = visit.gateway.books.going.find(tenant, name)
    if record is None:
        found = await visit.gateway.own.reads.run(lambda: stored(tenant, name))
        if found is None:
            raise RequestNotFound
        return ended(found)
    return ended(record) if _is_over(record) else _told(visit, record)


async def _cancel(visit: Visit, name: str) -> dict[str, Any]:
    """The request as it is afterwards. One that has ended already stays as it was."""
    gateway = visit.gateway
    record = gateway.books.going.find(visit.caller.tenant, name)
    if record is None or _is_over(record):
        return await _one(visit, name)
    gateway.pulse.cancel(record)
    for tick in range(END_TICKS):
        if _is_over(record):
            return ended(record)
        await asyncio.sleep(END_TICK_S if tick else 0)
    return _told(visit, record)


def _told(visit: Visit, record: Record) -> dict[str, Any]:
    return going(visit.gateway.dispatcher, record, visit.gateway.dispatcher.explain(record.request_id))


def _is_over(record: Record) -> bool:
    return bool(record.outcome)


def _state(asked: dict[str, str]) -> str:
    state = asked.get("state", "")
    if state and state not in STATES:
        raise Invalid(f"state must be one of {', '.join(STATES)}.", param="state")
    return state
