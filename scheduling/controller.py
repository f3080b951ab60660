"""The controller: reads every engine, and moves every backend's limits."""

from __future__ import annotations

import logging
import time
from functools import cache

import redis
from django.conf import settings
from django.db import DatabaseError
from redis.exceptions import RedisError

from scheduling import control_bus, readings, selectors
from scheduling.control_step import Moment, next_states
from scheduling.core.control import BackendState
from scheduling.core.policy import Policy
from scheduling.engines.endpoint import Endpoint
from scheduling.engines.scrape import Scraper
from scheduling.valkey import sync_client

logger = logging.getLogger(__name__)


class Rules:
    """Policy and endpoints, read anew only when their revision moved."""

    def __init__(self) -> None:
        self._policy: Policy | None = None
        self._endpoints: dict[str, Endpoint] = {}

    def read(self) -> tuple[Policy, dict[str, Endpoint]]:
        """The rules in force. Raises DatabaseError while Postgres is away."""
        if self._policy is None or self._policy.revision != selectors.revision():
            policy = selectors.policy()
            self._endpoints = selectors.endpoints()
            self._policy = policy
        return self._policy, self._endpoints


class Controller:
    """One control step at a time, whichever process takes the period."""

    def __init__(self, client: redis.Redis, scraper: Scraper) -> None:
        self._client = client
        self._scraper = scraper
        self._rules = Rules()

    def tick(self) -> bool:
        """Read all engines at once and move their limits.

        False when another process has this period. Raises DatabaseError or
        RedisError when Postgres or Valkey is away; gateways then read the
        engines for themselves.
        """
        period_s = float(settings.KNOBS["FAIRLANE_POLL_EVERY_S"])
        if not control_bus.take_period(self._client, period_s):
            return False
        policy, endpoints = self._rules.read()
        loads = self._scraper.read_all(list(endpoints.values()), period_s)
        own = control_bus.load_counts(self._client)  # after the pages: as young as they are
        before = control_bus.load_states(self._client)
        now_s = time.time()
        moment = Moment(now_s, float(settings.KNOBS["FAIRLANE_METRICS_STALE_S"]), epoch_floor=int(now_s))
        states, due = readings.marked(before, next_states(before, loads, policy, own, moment))
        control_bus.save_states(self._client, states, gone=before.keys() - states.keys())
        _log_news(before, states)
        readings.store(due)
        return True


def tick() -> bool:
    """One control step by this process's controller. Never raises for a service that is away."""
    try:
        return _controller().tick()
    except DatabaseError as error:
        logger.warning("No control step: Postgres does not answer (%s)", error)
    except (RedisError, OSError) as error:
        logger.warning("No control step: Valkey does not answer (%s)", error)
    return False


@cache
def _controller() -> Controller:
    return Controller(sync_client(), Scraper())


def _log_news(before: dict[str, BackendState], after: dict[str, BackendState]) -> None:
    for name, state in after.items():
        known = before.get(name)
        if state.error and not (known and known.error):
            logger.warning("Backend %s cannot be read: %s", name, state.error)
        elif known and known.error and not state.error:
            logger.info("Backend %s is read again", name)
        if known and state.epoch != known.epoch:
            logger.warning("Backend %s restarted", name)
