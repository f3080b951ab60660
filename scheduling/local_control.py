"""A gateway's own control steps: on what it hears in responses, and on what it reads itself while alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from scheduling.control_step import Moment, Told, newest, next_states, tells, with_work
from scheduling.core.control import BackendState, OwnCounts
from scheduling.core.limits import EngineLoad, Limit
from scheduling.core.policy import Policy
from scheduling.engines import schedule
from scheduling.engines.endpoint import Endpoint
from scheduling.engines.scrape import GRACE_S, Scraper, limited, result

logger = logging.getLogger(__name__)

HEAR_EVERY_S = 0.1  # per backend: an engine may answer thousands of times a second
Rules = Callable[[], tuple[Policy, Mapping[str, Endpoint]]]


class LocalControl:
    """One gateway's copy of the states, which it moves by the controller's own law.

    Its steps never raise an epoch over the controller's: whatever the
    controller decides later holds.
    """

    def __init__(self, gateway_id: str, rules: Rules, told: Told, stale_after_s: float) -> None:
        self._gateway_id = gateway_id
        self._rules = rules
        self._told = told
        self._stale_after_s = stale_after_s
        self._scraper = Scraper()
        self._slots: dict[str, str] = {}  # the last slot that was read, by backend
        self._reads: dict[str, asyncio.Task[None]] = {}
        self.states: dict[str, BackendState] = {}
        self.heard: dict[str, EngineLoad] = {}  # the newest load told in a response, by backend
        self._heard_at_s: dict[str, float] = {}  # when a step was made of one; monotonic

    def hears(self, load: EngineLoad) -> bool:
        """Keep the newest load told in a response; whether it is time to make a step of it."""
        known = self.heard.get(load.backend)
        if not tells(load) or (known and load.read_at_s <= known.read_at_s <= time.time()):
            return False  # one from the future was told before the clock was set back
        self.heard[load.backend] = load
        now_s = time.monotonic()
        if now_s - self._heard_at_s.get(load.backend, -HEAR_EVERY_S) < HEAR_EVERY_S:
            return False
        self._heard_at_s[load.backend] = now_s
        return True

    def hear(self, load: EngineLoad) -> list[Limit]:
        """The limit after a response told this load.

        Such a step cuts and frees. It never grows a window: that takes the
        counts of all gateways, which only the controller has. Each begins at
        the last reading's state and not at the one before, or ten a second
        would cut ten times for one queue.
        """
        own = self._told.counts.get(load.backend, OwnCounts())
        load = with_work(load, own)
        after = self._stepped(load, OwnCounts(own.pending, own.in_flight, streaming=own.streaming))
        return [] if after is None else [after.limit()]

    def read_due(self, period_s: float, obey: Callable[[list[Limit]], None]) -> None:
        """Begin to read every engine whose time has come; each one's limit is obeyed when it answers."""
        _, endpoints = self._rules()
        self._scraper.forget_all_but(endpoints)
        now_s = time.time()
        for name, endpoint in endpoints.items():
            slot = schedule.latest(endpoint, now_s, period_s, self._gateway_id)
            running = self._reads.get(name)
            if self._slots.get(name) == slot.name or (running and not running.done()):
                continue
            self._slots[name] = slot.name
            self._reads[name] = asyncio.create_task(self._read(slot, obey), name=f"read {name}")

    def stop_reading(self) -> None:
        """The controller is back: what is still under way counts no more."""
        for read in self._reads.values():
            read.cancel()
        self._reads.clear()
        self._slots.clear()

    def close(self) -> None:
        """Let go of connections."""
        self.stop_reading()
        self._scraper.close()

    async def _read(self, slot: schedule.Slot, obey: Callable[[list[Limit]], None]) -> None:
        name, limit_s = slot.endpoint.backend, limited(slot.period_s)
        read = self._scraper.begin(slot.endpoint, limit_s)
        await asyncio.wait([asyncio.wrap_future(read)], timeout=limit_s + GRACE_S)
        load = newest(
            result(name, read, limit_s), self.heard.get(name), self.states.get(name), self._stale_after_s
        )
        after = self._stepped(load, self._told.counts.get(name, OwnCounts()))
        self._told.used(name)
        if after is not None:
            self.states[name] = after
            obey([after.limit()])

    def _stepped(self, load: EngineLoad, own: OwnCounts) -> BackendState | None:
        policy, _ = self._rules()
        moment = Moment(time.time(), self._stale_after_s)
        return next_states(self.states, [load], policy, {load.backend: own}, moment).get(load.backend)
