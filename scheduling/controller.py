"""The controller: reads every engine, and moves every backend's limits."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import cache

import redis
from django.conf import settings
from django.db import DatabaseError
from redis.exceptions import RedisError

from scheduling import control_bus, readings, selectors
from scheduling.control_step import Moment, newest, next_states
from scheduling.core.control import BackendState
from scheduling.core.limits import EngineLoad
from scheduling.core.policy import Policy
from scheduling.engines import schedule
from scheduling.engines.endpoint import Endpoint
from scheduling.engines.schedule import Slot
from scheduling.engines.scrape import GRACE_S, LONGEST_TIMEOUT_S, Scraper, limited, result
from scheduling.valkey import sync_client

logger = logging.getLogger(__name__)

TOGETHER_S = 0.01  # pages that come within it move their limits in one step


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


@dataclass(slots=True)
class Read:
    """One engine that is being read."""

    future: Future[EngineLoad]
    limit_s: float
    ends_s: float  # monotonic: then it is no longer waited for


class Controller:
    """Reads each engine at its own time, and moves its limit as soon as it has answered.

    Any number of controllers may run: a reading is made by whoever takes its slot.
    """

    def __init__(
        self, client: redis.Redis, scraper: Scraper, plan: Callable[..., list[Slot]] = schedule.plan
    ) -> None:
        self._client = client
        self._scraper = scraper
        self._plan = plan
        self._rules = Rules()

    def tick(self) -> bool:
        """Make the readings of the beat that begins now; returns when the last has come or timed out.

        False when another process plans this beat. Raises DatabaseError or
        RedisError when Postgres or Valkey is away; gateways then read the
        engines for themselves.
        """
        beat_s = float(settings.KNOBS["FAIRLANE_POLL_EVERY_S"])
        if not control_bus.take_period(self._client, beat_s):
            return False
        policy, endpoints = self._rules.read()
        control_bus.begin_beat(self._client, endpoints)
        self._scraper.forget_all_but(endpoints)
        readings.store(self._play(self._plan(endpoints.values(), time.time(), beat_s), policy))
        return True

    def _play(self, slots: Sequence[Slot], policy: Policy) -> list[BackendState]:
        """Make these readings, each when it is due; the states whose history is due for a row.

        The database is written after the last one: it may be slow, and delays no reading.
        """
        coming, unix_s = deque(slots), _steady_clock()
        reads: dict[str, Read] = {}
        rows: list[BackendState] = []
        while coming or reads:
            now_s = unix_s()
            due = [coming.popleft() for _ in range(len(coming)) if coming[0].at_s <= now_s]
            self._begin(due, reads)
            if loads := self._answered(reads, coming[0].at_s - unix_s() if coming else None):
                rows += self._move(loads, policy)
                control_bus.release(self._client, [load.backend for load in loads])
        return rows

    def _begin(self, due: Sequence[Slot], reads: dict[str, Read]) -> None:
        if not due:
            return
        for slot in control_bus.take_slots(self._client, due, LONGEST_TIMEOUT_S + 2 * GRACE_S):
            limit_s = limited(slot.period_s)
            future = self._scraper.begin(slot.endpoint, limit_s)
            reads[slot.endpoint.backend] = Read(future, limit_s, time.monotonic() + limit_s + GRACE_S)

    def _answered(self, reads: dict[str, Read], until_s: float | None) -> list[EngineLoad]:
        """The loads that came, or failed to come in time, waiting ``until_s`` seconds at most for one."""
        if not reads:
            time.sleep(max(0.0, until_s or 0.0))
            return []
        futures = [read.future for read in reads.values()]
        patience_s = min(read.ends_s for read in reads.values()) - time.monotonic()
        wait(futures, max(0.0, patience_s if until_s is None else min(patience_s, until_s)), FIRST_COMPLETED)
        wait(futures, TOGETHER_S)
        now_s = time.monotonic()
        over = [name for name, read in reads.items() if read.future.done() or read.ends_s <= now_s]
        ended = {name: reads.pop(name) for name in over}
        return [result(name, read.future, read.limit_s) for name, read in ended.items()]

    def _move(self, loads: Sequence[EngineLoad], policy: Policy) -> list[BackendState]:
        """Move the limits of these backends; their states whose history is due for a row."""
        words = control_bus.load_words(self._client).values()  # after the pages: as young as they are
        before = control_bus.load_states(self._client, [load.backend for load in loads])
        heard, now_s = control_bus.heard_by(words), time.time()
        moment = Moment(now_s, float(settings.KNOBS["FAIRLANE_METRICS_STALE_S"]), epoch_floor=int(now_s))
        told = [
            newest(load, heard.get(load.backend), before.get(load.backend), moment.stale_after_s)
            for load in loads
        ]
        after = next_states(before, told, policy, control_bus.counts_of(words), moment)
        states, due = readings.marked(before, after)
        control_bus.save_states(self._client, states)
        _log_news(before, states)
        return due


def _steady_clock() -> Callable[[], float]:
    """Unix time as it goes on from now: no clock that is set back meanwhile makes a beat an hour long."""
    ahead_s = time.time() - time.monotonic()
    return lambda: ahead_s + time.monotonic()


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
