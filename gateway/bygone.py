"""What was used before this process, or before a limit was set: learnt from the usage records.

Nobody with a quota is let in before that. An installation without quotas
never asks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from time import time

from gateway.errors import BudgetsUnknown
from scheduling.core.budget import day_of
from scheduling.core.quota import Key, Scope

PATIENCE_S = 5.0  # a request waits so long for its tenant's past; reading it takes milliseconds
AGAIN_S = 1.0  # between two tries while Postgres is away

log = logging.getLogger(__name__)

Read = Callable[[Sequence[Scope]], Mapping[Key, Mapping[str, int]]]
"""What these used, by kind: in the last minute and in the open day and month. Runs in a thread."""


class Bygone:
    """Which holders of limits have a known past, and the chore that learns it.

    For one that has limits per minute only, the month is not read; a budget
    that it is given later is learnt then.
    """

    def __init__(self, read: Read, now_s: Callable[[], float] = time) -> None:
        self.ready = False
        self._read = read
        self._now_s = now_s
        self._known: dict[Key, bool] = {}  # True: its budgets too
        self._wanted: dict[Key, Scope] = {}
        self._asked = asyncio.Event()
        self._learnt = asyncio.Condition()

    def expect(self, scopes: Iterable[Scope]) -> None:
        """These tenants have limits now; who has none any more is not counted, and so forgotten."""
        limited = {scope.key: scope for scope in scopes}
        self._known = {
            key: all_ for key, all_ in self._known.items() if key in limited or key[0] == "api_token"
        }
        self.expect_too(limited.values())
        self.ready = self.ready or not self._wanted

    def expect_too(self, scopes: Iterable[Scope]) -> None:
        """These have limits as well."""
        self._wanted.update((scope.key, scope) for scope in scopes if not self._knows(scope))
        if self._wanted:
            self._asked.set()

    def knows(self, scopes: Sequence[Scope]) -> bool:
        """Whether the past of these is known."""
        known = self._known
        for scope in scopes:  # noqa: SIM110 - a generator takes three times as long
            if not known.get(scope.key) and not self._knows(scope):
                return False
        return True

    async def known(self, scopes: Sequence[Scope]) -> None:
        """Wait until the past of these is known. Raises BudgetsUnknown after a while."""
        if self.knows(scopes):
            return
        self.expect_too(scopes)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S), self._learnt:
                await self._learnt.wait_for(lambda: self.knows(scopes))
                return
        raise BudgetsUnknown

    async def run(self, remember: Callable[[Scope, Mapping[str, int]], None]) -> None:
        """Learn what is asked for, for ever."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            wanted = list(self._wanted.values())
            day = day_of(int(self._now_s()))
            try:
                used = await asyncio.to_thread(self._read, wanted)
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody may go on uncounted
                log.warning("what was used of the quotas cannot be read, so who has some waits: %s", error)
                self._asked.set()
                await asyncio.sleep(AGAIN_S)
                continue
            if day_of(int(self._now_s())) != day:
                self._asked.set()  # what was used until midnight is nothing of the day, or month, that began
                continue
            await self._take(wanted, used, remember)

    async def _take(
        self,
        wanted: Sequence[Scope],
        used: Mapping[Key, Mapping[str, int]],
        remember: Callable[[Scope, Mapping[str, int]], None],
    ) -> None:
        for scope in wanted:
            remember(scope, used.get(scope.key, {}))
            self._known[scope.key] = has_budget(scope)
            if self._wanted.get(scope.key) is scope:
                del self._wanted[scope.key]
        self.ready = self.ready or not self._wanted
        async with self._learnt:
            self._learnt.notify_all()

    def _knows(self, scope: Scope) -> bool:
        if not (scope.minute_limits or scope.budget_limits):
            return True  # its past does not matter
        all_ = self._known.get(scope.key)
        return all_ is not None and (all_ or not has_budget(scope))


def has_budget(scope: Scope) -> bool:
    """Whether a day or a month of it counts."""
    return bool(scope.budget_limits)
