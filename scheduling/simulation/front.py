"""The gateway's part in a run: tickets to the scheduler, requests to the engines, and news back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from zlib import crc32

from scheduling.core.events import Dispatched, Event, Expired, Stranded
from scheduling.core.outcome import Outcome
from scheduling.core.policy import Policy
from scheduling.core.prediction import Estimates
from scheduling.core.scheduler import Scheduler
from scheduling.core.ticket import Ticket
from scheduling.core.usage import cost_of
from scheduling.simulation.controller import Controller
from scheduling.simulation.engine.request import EngineRequest, Progress
from scheduling.simulation.fleet import Backend, Fleet
from scheduling.simulation.record import Run, Served
from scheduling.simulation.scenario import MODEL, POOL, Arrival, Scenario, WeightChange, reweighted
from scheduling.simulation.wire import Arrived, Wire

MAX_CONNECT_ATTEMPTS = 3  # as the gateway: a dead engine did not see the request
MAX_FAILED_ATTEMPTS = 2  # a request that was lost with one engine may try one more


class Flight:
    """One request between its arrival and its outcome."""

    __slots__ = ("attempts", "avoid", "backend", "failed", "name", "served", "then")

    def __init__(self, name: str, served: Served, then: Arrived | None) -> None:
        self.name = name
        self.served = served
        self.then = then  # what its client does when it has ended
        self.backend: Backend | None = None  # None: it waits in line
        self.attempts = 1
        self.failed = 0  # of them
        self.avoid: frozenset[str] = frozenset()


class Front:
    """Does for pretend requests what the gateway does for real ones.

    A dead engine refuses its dispatch: the request goes back to the head of
    its line, avoiding that engine, whose circuit opens after three. While
    none can be reached it waits, and that counts as no attempt. One lost
    before its first token tries one other engine; after it, it has failed
    and is charged what was delivered. All that is sent to
    an engine or said by it takes the time of the wire.
    """

    def __init__(self, scenario: Scenario, log: Run, note: Callable[[float, Arrived], None]) -> None:
        self._policy: Policy = scenario.policy()
        self.scheduler = Scheduler(POOL, self._policy)
        self.fleet = Fleet(scenario, self._policy)
        self.waiting = 0  # requests in line
        self._wire = Wire(scenario.delay_ms, note)
        self.controller = Controller(self.scheduler, self.fleet, self._wire, self.obey)
        self._knows_lengths = scenario.knows_lengths
        self._log = log
        self._estimates = Estimates()
        self._open: dict[str, Flight] = {}
        for backend in self.fleet:
            log.engine_queues[backend.name] = backend.queue

    # what clients do

    def arrive(self, arrival: Arrival, then: Arrived | None = None) -> str:
        """A request comes; its name. ``then`` is called when it has ended."""
        served = Served(arrival)
        flight = Flight(f"request-{len(self._log.served)}", served, then)
        self._log.served.append(served)
        self._open[flight.name] = flight
        self._stand_in_line(flight, arrival.at_ms)
        return flight.name

    def leave(self, name: str, at_ms: float) -> None:
        """The client is gone, if its request is still under way."""
        flight, now_ms = self._open.get(name), int(at_ms)
        if flight is None:
            return
        if flight.backend is None:
            self.waiting -= 1
            self._close(flight, Outcome.CLIENT_GONE_QUEUED, now_ms)
            self.obey(self.scheduler.cancel(name, now_ms), now_ms)
            return
        backend = flight.backend
        flight.served.completion_tokens = backend.engine.spoken(name)
        self._wire.send(partial(backend.stop, name), now_ms)
        self._release(flight)
        self._close(flight, Outcome.CLIENT_GONE_STREAMING, now_ms)
        self._finish(flight, now_ms)

    # what engines do

    def hear(self, backend: Backend, said: list[Progress], now_ms: float) -> None:
        """A step of the engine has ended."""
        backend.note(now_ms)
        if said:
            tells = backend.spec.sends_headers and any(map(self._is_whole_answer, said))
            self._wire.send(partial(self._heard, backend, said), now_ms)
            if tells:
                self.controller.read_header(backend, now_ms)

    def crash(self, backend: Backend, now_ms: float) -> None:
        """The engine's process dies, and takes all that it holds with it."""
        lost = backend.engine.crash()
        backend.up = False
        backend.note(now_ms)
        for name, told in lost:
            self._wire.send(partial(self._lost, backend, name, told), now_ms)

    def tell_progress(self, now_ms: int) -> None:
        """Say how many tokens each running stream has by now, to a scheduler that charges while they come."""
        for backend in self.fleet:
            for name, tokens in backend.engine.told():
                if (flight := self._open.get(name)) is None or not flight.served.arrival.streams:
                    continue  # its client has left, or nothing is heard of it until its end
                if events := self.scheduler.progress(name, tokens, now_ms):
                    self.obey(events, now_ms)

    # what admins and the controller do

    def reweight(self, change: WeightChange, at_ms: float) -> None:
        """An admin gives a tenant another weight."""
        self._policy = reweighted(self._policy, change)
        self.obey(self.scheduler.set_policy(self._policy, int(at_ms)), at_ms)

    def obey(self, events: Iterable[Event], now_ms: float) -> None:
        """Do what the scheduler decided, and start engines that had nothing to do."""
        for event in events:
            if isinstance(event, Dispatched):
                self.waiting -= 1
                self._dispatch(event, now_ms)
            elif isinstance(event, (Expired, Stranded)):
                self.waiting -= 1
                why = Outcome.QUEUE_TIMEOUT if isinstance(event, Expired) else Outcome.NO_BACKEND
                self._close(self._open[event.ticket.request_id], why, now_ms)
        for backend in self.fleet:
            if backend.engine.due_ms is None:
                backend.wake(now_ms)

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
            prefixes=_of_tenant(arrival) if arrival.prefixes else (),
            kv_completion_tokens=self._within(arrival, self._estimates.median_tokens(POOL)),
        )
        self.waiting += 1
        self.obey(self.scheduler.submit(ticket, now_ms), now_ms)

    def _expected(self, arrival: Arrival) -> int:
        return self._within(arrival, self._estimates.completion_tokens(arrival.tenant, MODEL, POOL))

    def _within(self, arrival: Arrival, guess: int) -> int:
        if self._knows_lengths:
            return arrival.completion_tokens
        return min(arrival.max_tokens, guess) if arrival.max_tokens else guess

    def _dispatch(self, event: Dispatched, now_ms: float) -> None:
        flight, backend = self._open[event.ticket.request_id], self.fleet[event.backend]
        served = flight.served
        served.seated_ms, served.backend, flight.backend = now_ms, backend.name, backend
        if not backend.hold(streams=served.arrival.streams):
            self._log.over_limit += 1
        self._wire.send(partial(self._reach, flight, backend, event.engine_order or 0), now_ms)

    def _reach(self, flight: Flight, backend: Backend, order: int, now_ms: float) -> None:
        """A request is at its engine, unless its client has left meanwhile."""
        if flight.backend is not backend:
            return
        if not backend.up:
            self._wire.send(partial(self._refused, flight, backend), now_ms)
            return
        arrival = flight.served.arrival
        tokens = arrival.completion_tokens
        backend.engine.submit(
            EngineRequest(
                flight.name,
                arrival.prompt_tokens,
                tokens,
                arrival.max_tokens or tokens,
                order,
                backend.cacheable(arrival),
            )
        )
        backend.note(now_ms)
        if self._wire.delay_ms:
            backend.wake(now_ms)

    def _refused(self, flight: Flight, backend: Backend, now_ms: float) -> None:
        if flight.backend is backend:
            self._fail(flight, Outcome.CONNECT_FAIL, int(now_ms))

    def _heard(self, backend: Backend, said: Iterable[Progress], now_ms: float) -> None:
        """First and last tokens came."""
        for progress in said:
            flight = self._open.get(progress.request_id)
            if flight is None or flight.backend is not backend:
                continue  # its client has left
            if flight.served.first_token_ms is None:
                self._begin(flight, backend, now_ms)
            if progress.finish:
                self._end(flight, progress.output_tokens, now_ms)

    def _is_whole_answer(self, progress: Progress) -> bool:
        """Headers go before the body: those of a stream are gone when there is something to tell."""
        flight = self._open.get(progress.request_id)
        return flight is not None and progress.finish is not None and not flight.served.arrival.streams

    def _lost(self, backend: Backend, name: str, told: int, now_ms: float) -> None:
        flight = self._open.get(name)
        if flight is not None and flight.backend is backend:
            flight.served.completion_tokens = told
            self._fail(flight, Outcome.UPSTREAM_RESET, int(now_ms))

    def _begin(self, flight: Flight, backend: Backend, now_ms: float) -> None:
        served = flight.served
        served.first_token_ms = now_ms
        if served.arrival.streams:
            backend.pending -= 1
        self.obey(self.scheduler.start(flight.name, int(now_ms)), now_ms)

    def _end(self, flight: Flight, tokens: int, now_ms: float) -> None:
        flight.served.completion_tokens = tokens
        self._estimates.learn(flight.served.arrival.tenant, MODEL, POOL, tokens)
        self._release(flight)
        self._close(flight, Outcome.OK, now_ms)
        self._finish(flight, now_ms)

    def _fail(self, flight: Flight, why: Outcome, now_ms: int) -> None:
        """The engine is dead: another attempt while nothing was said and some are left, else the end.

        One that did not reach it does not count while no engine can be reached.
        """
        served = flight.served
        unheard = served.first_token_ms is None
        if unheard:
            self.obey(self.scheduler.fail(served.backend, now_ms), now_ms)
        if why is Outcome.UPSTREAM_RESET or self.scheduler.serves(MODEL, now_ms):
            flight.failed += 1
            flight.avoid |= {served.backend}
        most = MAX_CONNECT_ATTEMPTS if why is Outcome.CONNECT_FAIL else MAX_FAILED_ATTEMPTS
        again = unheard and flight.failed < most
        self._release(flight)
        if not again:
            self._close(flight, why, now_ms)
        self._finish(flight, now_ms)
        if again:
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

    def _release(self, flight: Flight) -> None:
        backend = flight.backend
        if backend is None:
            return
        served = flight.served
        backend.let_go(pending=served.arrival.streams and served.first_token_ms is None)
        flight.backend = None

    def _close(self, flight: Flight, outcome: Outcome, now_ms: float) -> None:
        del self._open[flight.name]
        flight.served.outcome = outcome
        flight.served.ended_ms = now_ms
        self._log.ended_ms = max(self._log.ended_ms, now_ms)
        if flight.then is not None:
            flight.then(now_ms)


def _of_tenant(arrival: Arrival) -> tuple[int, ...]:
    """Its prefixes as tickets have them: the same text of another tenant is another number."""
    tenant = crc32(arrival.tenant.encode()) << 64
    return tuple(tenant + prefix for prefix in arrival.prefixes)
