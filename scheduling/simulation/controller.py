"""The controller of a run: it reads the engines, or overhears them, and moves the scheduler's limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from scheduling.control_step import counts_of, with_work
from scheduling.core.control import OwnCounts
from scheduling.core.events import Event
from scheduling.core.limits import EngineLoad
from scheduling.core.scheduler import Scheduler
from scheduling.simulation.fleet import Backend, Fleet
from scheduling.simulation.wire import Wire

HEAR_EVERY_MS = (
    100  # of one engine: as the gateway's control feed, which may see thousands of answers a second
)


class Controller:
    """Does for pretend engines what the controller and the gateway's control feed do for real ones."""

    def __init__(
        self, scheduler: Scheduler, fleet: Fleet, wire: Wire, obey: Callable[[Iterable[Event], float], None]
    ) -> None:
        self._scheduler = scheduler
        self._fleet = fleet
        self._wire = wire
        self._obey = obey  # does what the scheduler decided
        self._heard_ms: dict[str, float] = {}  # when each engine's header was last acted on

    def read_engines(self, now_ms: int, *, blackout: bool) -> None:
        """Ask every engine how it does."""
        self._wire.send(partial(self._show, now_ms, shown=not blackout), now_ms)

    def read_header(self, backend: Backend, now_ms: float) -> None:
        """An answer that ends now tells of the engine's load."""
        asked_ms = now_ms - self._wire.delay_ms  # what was sent later is not in it
        load = backend.reader.header(backend.engine, asked_ms)
        self._wire.send(partial(self._overhear, load, asked_ms), now_ms)

    def _show(self, asked_ms: int, now_ms: float, *, shown: bool) -> None:
        loads = [backend.look(asked_ms, blackout=not shown) for backend in self._fleet]
        self._wire.send(partial(self._tick, loads, asked_ms), now_ms)

    def _tick(self, loads: Iterable[EngineLoad], asked_ms: float, now_ms: float) -> None:
        """A control step: limits follow from what was read, and from what is held by now."""
        own = counts_of(self._scheduler.begin_period(int(now_ms)))
        for load in loads:
            self._decide(load, own, asked_ms, now_ms)

    def _overhear(self, load: EngineLoad, asked_ms: float, now_ms: float) -> None:
        """A step at once, but none up: it looks neither at who waits nor at who was answered."""
        if now_ms - self._heard_ms.get(load.backend, -HEAR_EVERY_MS) < HEAR_EVERY_MS:
            return
        self._heard_ms[load.backend] = now_ms
        held = counts_of(self._scheduler.view(int(now_ms)).backends)
        own = {name: replace(counts, blocked=False, answered=0, answer_ms=0) for name, counts in held.items()}
        self._decide(with_work(load, own[load.backend]), own, asked_ms, now_ms)

    def _decide(self, load: EngineLoad, own: Mapping[str, OwnCounts], asked_ms: float, now_ms: float) -> None:
        backend = self._fleet[load.backend]
        limit = backend.reader.limit(load, own, now_ms)
        backend.obey(limit)
        self._obey(self._scheduler.set_limit(limit, int(now_ms), int(asked_ms)), now_ms)
