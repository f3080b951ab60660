"""What is answered here and not by an engine: models, and what is the caller's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from gateway import catalog
from gateway.batches.doors import answer_batches, answer_files
from gateway.errors import NotFound, NotKept
from gateway.own import limits, queue, requests, usage
from gateway.visit import Visit

ROOT = "/v1/"

Aside = Callable[[Visit], Awaitable[None]]


def find(path: str) -> tuple[Aside, str]:
    """Who answers this path, and the rest of it. Raises NotFound."""
    name, _, rest = path.removeprefix(ROOT).partition("/")
    aside = ASIDES.get(name)
    if aside is None:
        raise NotFound
    return aside, rest


async def _models(visit: Visit) -> None:
    visit.read_only()
    name, policy, caller = visit.rest, visit.policy, visit.caller
    await visit.say(catalog.model(policy, caller, name) if name else catalog.models(policy, caller))


async def _responses(visit: Visit) -> None:
    raise NotKept


ASIDES: Mapping[str, Aside] = {
    "models": _models,
    "queue": queue.answer,
    "requests": requests.answer,
    "limits": limits.answer,
    "responses": _responses,
    "usage": usage.answer,
    "files": answer_files,
    "batches": answer_batches,
}
