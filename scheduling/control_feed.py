"""A gateway's side of control: it tells its counts, obeys the limits, and reads for itself when alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from math import inf

from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from scheduling import control_bus
from scheduling.control_bus import GatewayWord
from scheduling.control_step import Told
from scheduling.core.control import BackendState
from scheduling.core.limits import EngineLoad, Limit
from scheduling.dispatchers.base import Dispatcher
from scheduling.local_control import LocalControl, Rules
from scheduling.valkey import asked_to_stop, async_client

logger = logging.getLogger(__name__)

ROUNDS_PER_PERIOD = 2  # counts are told twice a period, so that no step sees older ones than half of it
ALONE_AFTER_PERIODS = 2.5  # a controller that is silent this long is away: the next round says so, within 3
START_S = 30.0  # nobody is warned sooner that there is no controller yet: all may have just been started


class ControlFeed:
    """Keeps one gateway's gates in step with the controller.

    ``run`` until cancelled, then ``close``. Wake-ups may be lost: the states
    are also read twice a period. While Valkey or the controller is away the
    gateway reads the engines itself, by the same law, and tells the console so.
    """

    def __init__(
        self,
        gateway_id: str,
        dispatcher: Dispatcher,
        rules: Rules,
        period_s: float,
        stale_after_s: float,
    ) -> None:
        self._gateway_id = gateway_id
        self._dispatcher = dispatcher
        self._period_s = period_s
        self._redis = async_client()
        self._told = Told()
        self._own = LocalControl(gateway_id, rules, self._told, stale_after_s)
        self._heard_at_s = time.time()
        self._warn_at_s = self._heard_at_s + START_S
        self.alone = False  # whether this gateway reads the engines itself

    async def run(self) -> None:
        """Follow the controller until cancelled."""
        while not asked_to_stop():
            try:
                async with control_bus.wake_ups(self._redis) as subscription:
                    await self._follow(subscription)
            except (RedisError, OSError) as error:
                logger.debug("Valkey does not answer: %s", error)
                self._look()
                self._read_if_alone()
                await asyncio.sleep(self._period_s / ROUNDS_PER_PERIOD)

    def hear(self, load: EngineLoad) -> None:
        """An engine told its load in a response: obey it at once, and pass it on to the controller.

        Cheap enough for every response: of an engine that answers often,
        one in HEAR_EVERY_S is acted on.
        """
        if self._own.hears(load):
            self._look()
            self._set(self._own.hear(load))

    async def close(self) -> None:
        """Tell the controller that nothing is held here any more, and let go of connections."""
        self._own.close()
        try:
            await control_bus.withdraw_counts(self._redis, self._gateway_id)
        except (RedisError, OSError) as error:
            logger.debug("could not withdraw the counts: %s", error)
        await self._redis.aclose()

    async def _follow(self, subscription: PubSub) -> None:
        while not asked_to_stop():
            self._look()
            word = GatewayWord(self._told.counts, self._own.heard, self.alone)
            await control_bus.publish_word(self._redis, self._gateway_id, word)
            await self._obey()
            self._read_if_alone()
            await self._obey_each_wake_up(subscription)

    async def _obey_each_wake_up(self, subscription: PubSub) -> None:
        """Until the next round: one step of the controller is of some engines only, and more follow."""
        ends_s = time.monotonic() + self._period_s / ROUNDS_PER_PERIOD
        while not asked_to_stop():
            left_s = ends_s - time.monotonic()
            if left_s <= 0 or not await control_bus.woken(subscription, left_s):
                return
            await self._obey()

    async def _obey(self) -> None:
        now_s, ticked_at_s = time.time(), await control_bus.ticked_at_s(self._redis)
        if now_s - ticked_at_s > ALONE_AFTER_PERIODS * self._period_s:
            return
        self._heard_at_s = self._warn_at_s = min(now_s, ticked_at_s)
        self._take(await control_bus.read_states(self._redis))
        if self.alone:
            self.alone = False
            self._own.stop_reading()
            logger.info("The controller is here: its limits hold")

    def _take(self, states: dict[str, BackendState]) -> None:
        for name, state in states.items():
            known = self._own.states.get(name)
            if known and state.ticked_at_s != known.ticked_at_s:
                self._told.used(name)
        self._own.states = states
        self._set([state.limit() for state in states.values()])

    def _look(self) -> None:
        self._told.look(self._dispatcher.begin_period())

    def _set(self, limits: Sequence[Limit]) -> None:
        if limits:
            self._dispatcher.set_limits(limits)

    def _read_if_alone(self) -> None:
        if time.time() - self._heard_at_s <= ALONE_AFTER_PERIODS * self._period_s:
            return
        self.alone = True
        if time.time() >= self._warn_at_s:
            self._warn_at_s = inf
            logger.warning("No word from the controller: this gateway reads the engines itself")
        self._own.read_due(self._period_s, self._set)
