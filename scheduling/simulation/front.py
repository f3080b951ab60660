"""The gateway's part in a run: tickets to the scheduler, requests to the engines, and news back."""

from __future__ import annotations

from collections.abc import Iterable

from scheduling.control_step import counts_of
from scheduling.core.events import Dispatched, Event, Expired, Stranded
from scheduling.core.outcome import Outcome
from scheduling.core.policy import Policy
from scheduling.core.prediction import Estimates
from scheduling.core.scheduler import Scheduler
from scheduling.core.ticket import Ticket
from scheduling.core.usage import cost_of
from scheduling.simulation.engine.request import EngineRequest, Progress
from scheduling.simulation.fleet import Backend, Fleet
from scheduling.simulation.record import Run, Served
from scheduling.simulation.scenario import MODEL, POOL, Arrival, Scenario, WeightChange, reweighted

MAX_CONNECT_ATTEMPTS = 3  # as the gateway: a dead engine did not see the request
MAX_FAILED_ATTEMPTS = 2  # a request that was lost with one engine may try one more


class Flight:
    """One request between its arrival and its outcome."""

    __slots__ = ("attempts", "avoid", "backend", "name", "served")

    def __init__(self, name: str, served: Served) -> None:
        self.name = name
        self.served = served
        self.backend: Backend | None = None  # None: it waits in line
        self.attempts = 1
        self.avoid: frozenset[str] = frozenset()


class Front:
    """Does for pretend requests what the gateway does for real ones.

    A dead engine refuses its dispatch: the request goes back to the head of
    its line, avoiding that engine, and the engine is left alone for a
    moment. One lost before its first token tries one other engine; after
    it, it has failed and is charged what was delivered.
    """

    def __init__(self, scenario: Scenario, log: Run) -> None:
        self._policy: Policy = scenario.policy()
        self.scheduler = Scheduler(POOL, self._policy)
        self.fleet = Fleet(scenario, self._policy)
        self.waiting = 0  # requests in line
        self._knows_lengths = scenario.knows_lengths
        self._log = log
        self._estimates = Estimates()
        self._open: dict[str, Flight] = {}
        for backend in self.fleet:
            log.engine_queues[backend.name] = backend.queue

    # what clients do

    def arrive(self, arrival: Arrival) -> str:
        """A request comes; its name."""
        served = Served(arrival)
        flight = Flight(f"request-{len(self._log.served)}", served)
        self._log.served.append(served)
        self._open[flight.name] = flight
        self._stand_in_line(flight, arrival.at_ms)
        return flight.name

    def leave(self, name: str, now_ms: int) -> None:
        """The client is gone, if its request is still under way."""
        flight = self._open.get(name)
        if flight is None:
            return
        if flight.backend is None:
            self.waiting -= 1
            self._close(flight, Outcome.CLIENT_GONE_QUEUED, now_ms)
            self.obey(self.scheduler.cancel(name, now_ms), now_ms)
            return
        backend = flight.backend
        flight.served.completion_tokens = backend.engine.abort(name)
        backend.note(now_ms)
        self._release(flight, now_ms)
        self._close(flight, Outcome.CLIENT_GONE_STREAMING, now_ms)
        self._finish(flight, now_ms)

    # what engines do

    def hear(self, backend: Backend, said: Iterable[Progress], now_ms: float) -> None:
        """A step of the engine has ended."""
        backend.note(now_ms)
        for progress in said:
            flight = self._open[progress.request_id]
            if flight.served.first_token_ms is None:
                self._begin(flight, backend, now_ms)
            if progress.finish:
                self._end(flight, progress.output_tokens, now_ms)

    def crash(self, backend: Backend, now_ms: int) -> None:
        """The engine's process dies, and takes all that it holds with it."""
        lost = [(self._open[name], told) for name, told in backend.engine.crash()]
        backend.up = False
        backend.note(now_ms)
        for flight, told in lost:
            flight.served.completion_tokens = told
            self._fail(flight, Outcome.UPSTREAM_RESET, now_ms)

    def tell_progress(self, now_ms: int) -> None:
        """Say how many tokens each running answer has by now, to a scheduler that charges while they come."""
        for backend in self.fleet:
            for name, tokens in backend.engine.told():
                if events := self.scheduler.progress(name, tokens, now_ms):
                    self.obey(events, now_ms)

    # what admins and controllers do

    def reweight(self, change: WeightChange, now_ms: int) -> None:
        """An admin gives a tenant another weight."""
        self._policy = reweighted(self._policy, change)
        self.obey(self.scheduler.set_policy(self._policy, now_ms), now_ms)

    def read_engines(self, now_ms: int, *, blackout: bool) -> None:
        """The controller's tick: every engine is read, and the limits follow."""
        own = counts_of(self.scheduler.begin_period(now_ms))
        for backend in self.fleet:
            counts = own[backend.name]
            if backend.up and not blackout:
                limit = backend.reader.read(backend.engine, backend.started_ms, counts, now_ms)
            else:
                limit = backend.reader.miss("timeout" if backend.up else "refused", counts, now_ms)
            backend.obey(limit)
            self.obey(self.scheduler.set_limit(limit, now_ms, now_ms), now_ms)

    def obey(self, events: Iterable[Event], now_ms: float) -> None:
        """Do what the scheduler decided, and start engines that had nothing to do."""
        for event in events:
            if isinstance(event, Dispatched):
                self.waiting -= 1
                self._dispatch(self._open[event.ticket.request_id], self.fleet[event.backend], now_ms)
            elif isinstance(event, (Expired, Stranded)):
                self.waiting -= 1
                why = Outcome.QUEUE_TIMEOUT if isinstance(event, Expired) else Outcome.NO_BACKEND
                self._close(self._open[event.ticket.request_id], why, now_ms)
        for backend in self.fleet:
            if backend.engine.due_ms is None and backend.engine.waiting:
                backend.engine.advance(now_ms)
                backend.note(now_ms)

    # one request

    def _stand_in_line(self, flight: Flight, now_ms: int) -> None:
        arrival = flight.served.arrival
        ticket = Ticket(
            request_id=flight.name,
            pool=POOL,
            model=MODEL,
            tenant=arrival.tenant,
            user=arrival.user,
            priority_class=arrival.priority_class,
            prompt_tokens=arrival.prompt_tokens,
            completion_tokens=self._expected(arrival),
            queued_ms=arrival.at_ms,
            deadline_ms=None if arrival.patience_ms is None else arrival.at_ms + arrival.patience_ms,
            attempt=flight.attempts,
            avoid=flight.avoid,
            streams=arrival.streams,
        )
        self.waiting += 1
        self.obey(self.scheduler.submit(ticket, now_ms), now_ms)

    def _expected(self, arrival: Arrival) -> int:
        if self._knows_lengths:
            return arrival.completion_tokens
        expected = self._estimates.completion_tokens(arrival.tenant, MODEL, POOL)
        return min(arrival.max_tokens, expected) if arrival.max_tokens else expected

    def _dispatch(self, flight: Flight, backend: Backend, now_ms: float) -> None:
        served, arrival = flight.served, flight.served.arrival
        served.seated_ms, served.backend, flight.backend = now_ms, backend.name, backend
        if not backend.hold(streams=arrival.streams):
            self._log.over_limit += 1
        if not backend.up:
            self.obey(self.scheduler.throttle(backend.name, int(now_ms)), now_ms)
            self._fail(flight, Outcome.CONNECT_FAIL, int(now_ms))
            return
        tokens = arrival.completion_tokens
        backend.engine.submit(
            EngineRequest(flight.name, arrival.prompt_tokens, tokens, arrival.max_tokens or tokens)
        )
        backend.note(now_ms)

    def _begin(self, flight: Flight, backend: Backend, now_ms: float) -> None:
        flight.served.first_token_ms = now_ms
        if flight.served.arrival.streams:
            backend.pending -= 1
            self.obey(self.scheduler.start(flight.name, int(now_ms)), now_ms)

    def _end(self, flight: Flight, tokens: int, now_ms: float) -> None:
        flight.served.completion_tokens = tokens
        self._estimates.learn(flight.served.arrival.tenant, MODEL, POOL, tokens)
        self._release(flight, now_ms)
        self._close(flight, Outcome.OK, now_ms)
        self._finish(flight, now_ms)

    def _fail(self, flight: Flight, why: Outcome, now_ms: int) -> None:
        """The engine is dead: another attempt while nothing was said and some are left, else the end."""
        served = flight.served
        most = MAX_CONNECT_ATTEMPTS if why is Outcome.CONNECT_FAIL else MAX_FAILED_ATTEMPTS
        again = served.first_token_ms is None and flight.attempts < most
        self._release(flight, now_ms)
        if not again:
            self._close(flight, why, now_ms)
        self._finish(flight, now_ms)
        if again:
            flight.avoid |= {served.backend}
            flight.attempts += 1
            served.seated_ms = None
            self._stand_in_line(flight, now_ms)

    def _finish(self, flight: Flight, now_ms: float) -> None:
        """Give the seat back: charged what was delivered, or nothing when nothing was."""
        served = flight.served
        refund = served.first_token_ms is None
        cost = 0 if refund else cost_of(served.arrival.prompt_tokens, served.completion_tokens)
        events = self.scheduler.finish(flight.name, cost, int(now_ms), refund=refund)
        self.obey(events, now_ms)

    def _release(self, flight: Flight, now_ms: float) -> None:
        backend = flight.backend
        if backend is None:
            return
        backend.in_flight -= 1
        if flight.served.arrival.streams and flight.served.first_token_ms is None:
            backend.pending -= 1
        flight.backend = None

    def _close(self, flight: Flight, outcome: Outcome, now_ms: float) -> None:
        del self._open[flight.name]
        flight.served.outcome = outcome
        flight.served.ended_ms = now_ms
        self._log.ended_ms = max(self._log.ended_ms, now_ms)
