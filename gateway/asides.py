"""What is answered here and not by an engine: models, the caller's own queue, and the like."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from gateway import catalog
from gateway.callers import Caller
from gateway.client import Client
from gateway.errors import GetOnly, NotFound
from gateway.headers import JSON
from gateway.serve import Gateway
from scheduling.core.policy import Policy

ROOT = "/v1/"
READ = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of an admitted caller. ``rest`` is the path below its first name, without a slash."""

    gateway: Gateway
    client: Client
    policy: Policy
    caller: Caller
    method: str
    rest: str
    query: bytes
    headers: Mapping[bytes, bytes] = field(repr=False)  # they hold the API token

    def read_only(self) -> None:
        """Raise GetOnly unless the request only reads."""
        if self.method not in READ:
            raise GetOnly

    async def say(self, body: bytes, status: int = 200) -> None:
        """Answer with JSON."""
        await self.client.whole(status, [(b"content-type", JSON)], body)


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


async def _queue(visit: Visit) -> None:
    if visit.rest:
        raise NotFound
    visit.read_only()
    await visit.say(catalog.queue(visit.gateway.dispatcher.view(), visit.caller.tenant))


ASIDES: Mapping[str, Aside] = {"models": _models, "queue": _queue}
