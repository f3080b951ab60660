"""Where a board's material comes from: the rules in Postgres, the live picture in Valkey."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from channels.db import database_sync_to_async
from django.conf import settings
from redis.exceptions import RedisError

from dashboard.boards.backends import Moment
from gateway import demo
from gateway.pictures import Picture
from gateway.snapshots import keep_watched, read_picture, read_picture_sync
from scheduling import selectors
from scheduling.control_bus import load_states, read_states
from scheduling.core.control import BackendState
from scheduling.core.policy import Policy
from scheduling.valkey import async_client, sync_client

log = logging.getLogger(__name__)

NO_PICTURE = Picture(at_s=0.0, revision=0, gateways=0, pools=())


@dataclass(frozen=True, slots=True)
class Scene:
    """All that boards are made from, as it stands at one moment."""

    policy: Policy
    picture: Picture
    states: Mapping[str, BackendState]
    moment: Moment


def read_now() -> Scene:
    """The scene for one page. Without Valkey it shows the rules alone."""
    policy = selectors.policy()
    try:
        return Scene(policy, read_picture_sync(), load_states(sync_client()), _moment())
    except (RedisError, OSError) as error:
        log.warning("The live picture cannot be read: %s", error)
        return Scene(policy, NO_PICTURE, {}, _moment())


class Source:
    """The scene for the live feed: reads the rules again only when their revision moved."""

    def __init__(self) -> None:
        self._redis = async_client()
        self._policy: Policy | None = None

    async def read(self) -> Scene:
        """The scene now."""
        policy = self._policy = await database_sync_to_async(self._fresh_policy)()
        try:
            await keep_watched(self._redis)
            picture, states = await read_picture(self._redis), await read_states(self._redis)
        except (RedisError, OSError) as error:
            log.warning("The live picture cannot be read: %s", error)
            return Scene(policy, NO_PICTURE, {}, _moment())
        return Scene(policy, picture, states, _moment())

    async def close(self) -> None:
        """Give the connection back."""
        await self._redis.aclose()

    def _fresh_policy(self) -> Policy:
        if self._policy and selectors.revision() == self._policy.revision:
            return self._policy
        return selectors.policy()


def demo_now() -> demo.DemoState:
    """Whether demo traffic runs; without Valkey it does not."""
    try:
        return demo.state()
    except (RedisError, OSError):
        return demo.DemoState(running=False)


def _moment() -> Moment:
    return Moment(now_s=time.time(), stale_after_s=float(settings.KNOBS["FAIRLANE_METRICS_STALE_S"]))
