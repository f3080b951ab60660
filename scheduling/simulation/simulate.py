"""The machine and its engines in pretend time: hours of traffic in seconds, the same every time."""

from __future__ import annotations

from functools import partial
from heapq import heappop, heappush
from math import inf

from scheduling.simulation.closed_loop import Crowd
from scheduling.simulation.fleet import Backend
from scheduling.simulation.front import Front
from scheduling.simulation.record import Run
from scheduling.simulation.scenario import Scenario, Workload
from scheduling.simulation.wire import Arrived

PROGRESS_EVERY_MS = 250  # as the gateway's dispatcher, for a policy that charges tokens as they stream
HOPELESS_MS = 600_000  # nothing runs and nothing comes: readings alone have so long to change that


class Simulation:
    """One scenario, until the last answer has ended or no engine is left to give it.

    Time goes from one thing that happens to the next: an arrival, a client
    that leaves, an admin's edit, an engine's death, a reading, a timer of
    the scheduler, or the end of an engine's step. Steps that bring neither
    a first token nor an end are passed over in one go, as far as nothing
    else happens meanwhile. An engine waits for nobody: its next step has
    begun when the machine hears of the last one, so whoever is seated then
    joins the step after.

    Where that changes anything (``vtc`` charges tokens as they stream, and
    memory is reserved for them) the scheduler is told every 250 ms how many
    each running answer has (``Scheduler.progress``).
    """

    def __init__(self, scenario: Scenario) -> None:
        self.log = Run(scenario)
        self._agenda: list[tuple[float, int, Arrived]] = []
        self._noted = 0
        self._front = Front(scenario, self.log, self._note)
        self._workload = scenario.workload
        self._crowd = Crowd(self._front.arrive, self._note)
        self._arrivals = iter(scenario.workload.arrivals)
        self._upcoming = next(self._arrivals, None)
        self._now_ms = 0.0
        self._moved_ms = 0.0
        self._read_ms = 0.0 if scenario.reads() else inf
        self._read_every_ms = scenario.read_every_ms
        tells = self._front.scheduler.charges_as_it_streams or scenario.kv_fill_percent > 0
        self._tell_ms: float = PROGRESS_EVERY_MS if tells else inf
        self._note_happenings()

    def run(self) -> Run:
        """Play it to the end."""
        fleet = self._front.fleet
        while True:
            backend, due_ms, other_ms = fleet.next()
            outside_ms = self._outside_ms(busy=backend is not None)
            at_ms = due_ms if due_ms < outside_ms else outside_ms
            if at_ms == inf:
                break
            if self._front.waiting and fleet.has_idle():
                self.log.idle_while_queued_ms += at_ms - self._now_ms
            self._now_ms = at_ms
            if backend is None or outside_ms <= due_ms:
                self._happen(outside_ms)
            else:
                self._step(backend, due_ms, min(outside_ms, other_ms))
        return self._closed()

    def _step(self, backend: Backend, due_ms: float, until_ms: float) -> None:
        said = backend.engine.advance(due_ms, until_ms)
        self._now_ms = self._moved_ms = backend.engine.ended_ms
        self._front.hear(backend, said, self._now_ms)

    def _outside_ms(self, *, busy: bool) -> float:
        """When the next thing happens that is not the end of a step; infinity when nothing will."""
        scheduler = self._front.scheduler
        if scheduler.is_idle and not self._upcoming and not self._crowd.is_coming:
            return inf  # everybody is served, whatever else was to happen
        next_ms: float = self._upcoming.at_ms if self._upcoming else inf
        # Comparisons and not min(): this is asked at each step of each engine.
        if self._agenda and self._agenda[0][0] < next_ms:
            next_ms = self._agenda[0][0]
        if not scheduler.is_idle and (due_ms := scheduler.next_due_ms()) is not None and due_ms < next_ms:
            next_ms = max(due_ms, self._now_ms)
        if busy or next_ms < inf or (self._front.waiting and self._now_ms - self._moved_ms < HOPELESS_MS):
            if self._read_ms < next_ms:
                next_ms = self._read_ms
            if self._tell_ms < next_ms:
                next_ms = self._tell_ms
        return next_ms

    def _happen(self, at_ms: float) -> None:
        front, now_ms = self._front, int(at_ms)
        if self._read_ms <= at_ms:
            self._read_ms += self._read_every_ms
            blackout = any(span.covers(now_ms) for span in self._workload.blackouts)
            front.controller.read_engines(now_ms, blackout=blackout)
        elif self._tell_ms <= at_ms:
            self._tell_ms += PROGRESS_EVERY_MS
            front.tell_progress(now_ms)
        elif self._agenda and self._agenda[0][0] <= at_ms:
            due_ms, _, what = heappop(self._agenda)
            what(due_ms)
        elif self._upcoming and self._upcoming.at_ms <= at_ms:
            self._arrive()
        else:
            front.obey(front.scheduler.expire(now_ms), now_ms)

    def _arrive(self) -> None:
        arrival = self._upcoming
        if arrival is None:
            return
        self._moved_ms = arrival.at_ms
        name = self._front.arrive(arrival)
        if arrival.leaves_after_ms is not None:
            self._note(arrival.at_ms + arrival.leaves_after_ms, partial(self._front.leave, name))
        self._upcoming = next(self._arrivals, None)

    def _note_happenings(self) -> None:
        front = self._front
        for change in self._workload.weight_changes:
            self._note(change.at_ms, partial(front.reweight, change))
        for outage in self._workload.outages:
            backend = front.fleet.at(outage.engine)
            self._note(outage.from_ms, partial(front.crash, backend))
            self._note(outage.to_ms, backend.restart)
        for clients in self._workload.clients:
            self._crowd.gather(clients)

    def _note(self, at_ms: float, what: Arrived) -> None:
        self._noted += 1
        heappush(self._agenda, (at_ms, self._noted, what))

    def _closed(self) -> Run:
        for backend in self._front.fleet:
            backend.queue.close(self._now_ms)
            preemptions, prompt_tokens, cached_tokens = backend.counted()
            self.log.preemptions += preemptions
            self.log.prompt_tokens += prompt_tokens
            self.log.cached_tokens += cached_tokens
        return self.log


def play(scenario: Scenario) -> Run:
    """Play a scenario to its end."""
    return Simulation(scenario).run()


def simulate(workload: Workload, fairness: str, admission: str) -> Run:
    """Play the workload under this fairness and this admission law (or ``unlimited``)."""
    return play(Scenario(workload, fairness, admission))
