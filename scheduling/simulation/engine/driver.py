"""The model in real time: a timer that ends each step when it is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from scheduling.simulation.engine.metrics_page import Lag
from scheduling.simulation.engine.model import EngineModel
from scheduling.simulation.engine.request import EngineRequest, Progress

EARLY_MS = 0.5  # timers are a millisecond coarse: a step this close to its end is over
HOPELESS_MS = 200.0  # behind by more than this, the schedule moves instead of being caught up
STEPS_PER_WAKE = 32  # then others get the loop, however late we are
LAG_WINDOW_S = 5.0  # the gauge is the worst of this window and the one before


class Driver:
    """Runs one model on the running event loop and hands on what it says.

    A late wake-up does not slow the engine down: the next step starts when
    the last was due, so that steps keep their pace on average.
    """

    def __init__(self, model: EngineModel, deliver: Callable[[Progress], None]) -> None:
        self._lag = Lag()
        self._model = model
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self._window_began = self._loop.time()
        self._window_worst = 0.0

    def submit(self, request: EngineRequest) -> None:
        """Queue a request; raises what ``EngineModel.submit`` raises."""
        self._model.submit(request, self._now_ms())
        if self._timer is None:  # idle: begin once all that arrives in this instant is in line
            self._timer = self._loop.call_soon(self._wake)

    def abort(self, request_id: str) -> None:
        """The client left."""
        self._model.abort(request_id, self._now_ms())

    def lag(self) -> Lag:
        """How far the schedule is behind, lately."""
        self._roll()
        return self._lag

    def stop(self) -> None:
        """No step ends any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _now_ms(self) -> float:
        return self._loop.time() * 1000

    def _wake(self) -> None:
        now_ms = self._now_ms()
        if self._model.due_ms is None:
            self._model.advance(now_ms)
        for _ in range(STEPS_PER_WAKE):
            due_ms = self._model.due_ms
            if due_ms is None or due_ms > now_ms + EARLY_MS:
                break
            for progress in self._model.advance(self._on_schedule(due_ms, now_ms)):
                self._deliver(progress)
            now_ms = self._now_ms()
        self._arm()

    def _arm(self) -> None:
        if self._model.due_ms is not None:
            self._timer = self._loop.call_at(self._model.due_ms / 1000, self._wake)
        elif self._model.waiting:  # an answer's end made its client ask again at once
            self._timer = self._loop.call_soon(self._wake)
        else:
            self._timer = None

    def _on_schedule(self, due_ms: float, now_ms: float) -> float:
        """When to say that a step ended: as due, unless that is too long ago."""
        late_ms = max(0.0, now_ms - due_ms)
        self._note_lag(late_ms / 1000)
        if late_ms < HOPELESS_MS:
            return due_ms
        self._lag.lost_s += late_ms / 1000
        return now_ms

    def _note_lag(self, late_s: float) -> None:
        self._roll()
        self._window_worst = max(self._window_worst, late_s)
        self._lag.worst_s = max(self._lag.worst_s, late_s)

    def _roll(self) -> None:
        """Forget what is older than two windows."""
        now = self._loop.time()
        windows = (now - self._window_began) // LAG_WINDOW_S
        if windows:
            self._lag.worst_s = self._window_worst if windows == 1 else 0.0
            self._window_worst = 0.0
            self._window_began += windows * LAG_WINDOW_S
