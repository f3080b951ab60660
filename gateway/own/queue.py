"""``GET /v1/queue``: the tenant's own lines, and for about how long a new request would wait."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from time import time
from typing import Any

import msgspec

from gateway.classes import classes_for
from gateway.errors import ModelNotFound, NotFound
from gateway.records import Record
from gateway.steering import seconds
from gateway.visit import Visit
from scheduling.core.view import Newcomer


async def answer(visit: Visit) -> None:
    """By pool and model. ``model`` asks for one model, whether or not anything of it waits."""
    if visit.rest:
        raise NotFound
    visit.read_only()
    visit.gateway.own.status_rate.ask(visit.caller.token_id)
    only = visit.asked("model").get("model", "")
    if only:
        only = _served(visit, only)
    mine: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in visit.gateway.books.going.of(visit.caller.tenant):
        if not only or record.model == only:
            mine[record.pool, record.model].append(record)
    if only:
        mine.setdefault((visit.policy.models[only], only), [])
    pools = sorted({pool for pool, _ in mine} or visit.policy.pools)
    now_s = time()
    body = {"object": "queue", "pools": [_pool(visit, pool, mine, now_s) for pool in pools]}
    await visit.say(msgspec.json.encode(body))


def _served(visit: Visit, asked: str) -> str:
    """The served model that the name stands for, the first of an alias's."""
    name = asked
    if (route := visit.policy.routes.get(asked)) and asked not in visit.policy.models:
        name = route.targets[0][0]
    if name not in visit.policy.models:
        raise ModelNotFound(f"There is no model {asked!r}. GET /v1/models lists them.", param="model")
    return name


def _pool(visit: Visit, pool: str, mine: dict[tuple[str, str], list[Record]], now_s: float) -> dict[str, Any]:
    records = [record for (where, _), some in mine.items() if where == pool for record in some]
    models = sorted(model for where, model in mine if where == pool)
    return {
        "pool": pool,
        **_counts(records, now_s),
        "new_request": list(_foretold(visit, pool)),
        "models": [
            {
                "model": model,
                **_counts(mine[pool, model], now_s),
                "available": visit.gateway.dispatcher.serves(pool, model),
                "new_request": list(_foretold(visit, pool, model)),
            }
            for model in models
        ],
    }


def _foretold(visit: Visit, pool: str, model: str = "") -> Iterator[dict[str, Any]]:
    """By class that the caller may use: the place, and about the wait with its own error."""
    for name in classes_for(visit.caller, visit.policy):
        told = visit.gateway.dispatcher.foretell(pool, Newcomer(visit.caller.tenant, name, model))
        if told is not None:
            yield {
                "class": name,
                "position": told.position,
                "wait_s": seconds(told.wait_ms),
                "error_s": seconds(told.error_ms),
            }


def _counts(records: Sequence[Record], now_s: float) -> dict[str, Any]:
    """How many wait and run, and for how long the oldest has waited."""
    waiting = [record.accepted_at for record in records if record.dispatched_at is None]
    return {
        "queued_requests": len(waiting),
        "in_flight_requests": len(records) - len(waiting),
        "oldest_wait_ms": max(0, int((now_s - min(waiting)) * 1000)) if waiting else None,
    }
