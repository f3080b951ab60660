"""A gateway's side of control: it tells its counts, obeys the limits, and reads for itself when alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from scheduling import control_bus
from scheduling.control_step import Moment, counts_of, next_states
from scheduling.core.control import BackendState, OwnCounts
from scheduling.core.limits import Limit
from scheduling.core.policy import Policy
from scheduling.dispatchers.base import Dispatcher
from scheduling.engines.endpoint import Endpoint
from scheduling.engines.scrape import Scraper
from scheduling.valkey import asked_to_stop, async_client

logger = logging.getLogger(__name__)

ALONE_AFTER_PERIODS = 3  # a controller that is silent this long is away
ROUNDS_PER_PERIOD = 2  # counts are told twice a period, so that no step sees older ones than half of it


async def poll_locally(
    scraper: Scraper,
    states: dict[str, BackendState],
    rules: tuple[Policy, Mapping[str, Endpoint]],
    own: Mapping[str, OwnCounts],
    times: tuple[float, float],
) -> list[Limit]:
    """One control step by this gateway alone, with ``states`` as its memory (changed in place).

    ``times`` are the period and the age after which a reading is stale, in
    seconds. The engines are read in threads; the event loop goes on.
    """
    policy, endpoints = rules
    period_s, stale_after_s = times
    loads = await asyncio.to_thread(scraper.read_all, list(endpoints.values()), period_s)
    after = next_states(states, loads, policy, own, Moment(time.time(), stale_after_s))
    states.clear()
    states.update(after)
    return [state.limit() for state in after.values()]


class ControlFeed:
    """Keeps one gateway's gates in step with the controller.

    ``run`` until cancelled, then ``close``. Wake-ups may be lost: the states
    are also read twice a period. While Valkey or the controller is away the
    gateway reads the engines itself, by the same law.
    """

    def __init__(
        self,
        gateway_id: str,
        dispatcher: Dispatcher,
        rules: Callable[[], tuple[Policy, Mapping[str, Endpoint]]],
        period_s: float,
        stale_after_s: float,
    ) -> None:
        self._gateway_id = gateway_id
        self._dispatcher = dispatcher
        self._rules = rules
        self._period_s = period_s
        self._stale_after_s = stale_after_s
        self._redis = async_client()
        self._scraper = Scraper()
        self._states: dict[str, BackendState] = {}
        self._heard_at_s = time.time()  # a controller gets three periods to start, too
        self._polled_at_s = 0.0
        self.alone = False  # whether this gateway reads the engines itself

    async def run(self) -> None:
        """Follow the controller until cancelled."""
        while not asked_to_stop():
            try:
                async with control_bus.wake_ups(self._redis) as subscription:
                    await self._follow(subscription)
            except (RedisError, OSError) as error:
                logger.debug("Valkey does not answer: %s", error)
                await self._poll_if_alone(self._counts())
                await asyncio.sleep(self._period_s / ROUNDS_PER_PERIOD)

    async def close(self) -> None:
        """Tell the controller that nothing is held here any more, and let go of connections."""
        try:
            await control_bus.withdraw_counts(self._redis, self._gateway_id)
        except (RedisError, OSError) as error:
            logger.debug("could not withdraw the counts: %s", error)
        await self._redis.aclose()
        self._scraper.close()

    async def _follow(self, subscription: PubSub) -> None:
        while True:
            counts = self._counts()
            await control_bus.publish_counts(self._redis, self._gateway_id, counts)
            await self._obey()
            await self._poll_if_alone(counts)
            if asked_to_stop():
                return
            if await control_bus.woken(subscription, self._period_s / ROUNDS_PER_PERIOD):
                await self._obey()

    async def _obey(self) -> None:
        age_s = time.time() - await control_bus.ticked_at_s(self._redis)
        if age_s > ALONE_AFTER_PERIODS * self._period_s:
            return
        self._heard_at_s = time.time()
        self._states = states = await control_bus.read_states(self._redis)
        self._dispatcher.set_limits([state.limit() for state in states.values()])
        if self.alone:
            self.alone = False
            logger.info("The controller is back: its limits hold again")

    def _counts(self) -> dict[str, OwnCounts]:
        return counts_of(self._dispatcher.begin_period())

    async def _poll_if_alone(self, counts: Mapping[str, OwnCounts]) -> None:
        now_s = time.time()
        if now_s - self._heard_at_s <= ALONE_AFTER_PERIODS * self._period_s:
            return
        if now_s - self._polled_at_s < self._period_s:
            return
        if not self.alone:
            self.alone = True
            logger.warning("No word from the controller: this gateway reads the engines itself")
        self._polled_at_s = now_s
        limits = await poll_locally(
            self._scraper,
            self._states,
            self._rules(),
            counts,
            (self._period_s, self._stale_after_s),
        )
        self._dispatcher.set_limits(limits)
