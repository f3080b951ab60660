"""The machine and an engine in pretend time: hours of traffic in seconds, the same every time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from scheduling.core.events import Dispatched, Event
from scheduling.core.policy import BackendRule, Policy, PoolRule, TenantRule
from scheduling.core.scheduler import Scheduler
from scheduling.core.ticket import Ticket
from scheduling.core.usage import COMPLETION_WEIGHT, PROMPT_WEIGHT, cost_of
from scheduling.simulation.control import ReadEngine
from scheduling.simulation.engine.model import EngineModel
from scheduling.simulation.engine.profiles import PROFILES
from scheduling.simulation.engine.request import EngineConfig, EngineRequest, Progress
from scheduling.simulation.workloads import Arrival, Workload

POOL, MODEL, BACKEND = "main", "model", "engine-0"
UNLIMITED = "unlimited"  # no admission control at all: what a plain proxy does
NO_CAP = 1_000_000
FIRST_GUESS_TOKENS = 256  # completion tokens expected of a tenant that was never seen
GUESS_WINDOW = 5  # the mean moves by a fifth of each error (VTC artifact, vtc_pred_len_req_queue.py)


@dataclass(slots=True)
class Served:
    """What became of one request. Times are milliseconds since the beginning."""

    arrival: Arrival
    seated_ms: float | None = None
    first_token_ms: float | None = None
    ended_ms: float | None = None


@dataclass(slots=True)
class Run:
    """All that was seen.

    ``service`` is what each tenant got within the measured time, ``demand``
    what it could have got: all that it asked for by then, less what had been
    answered before. Cost tokens.
    """

    workload: Workload
    fairness: str
    admission: str
    served: list[Served]
    service: dict[str, int]
    demand: dict[str, int]
    tokens: int = 0
    engine_queue_max: int = 0
    ended_ms: float = 0.0


class Simulation:
    """One workload under one policy, until the last answer has ended.

    The engine waits for nobody: a step that ends tells the machine of first
    tokens and ends, and whoever is seated then joins the next step. It shows
    no metrics, unless some answers come whole: only readings tell of those.
    """

    def __init__(self, workload: Workload, fairness: str, admission: str) -> None:
        self.run_log = Run(workload, fairness, admission, [], {}, {})
        self._workload = workload
        policy = _policy(workload, fairness, admission)
        self._scheduler = Scheduler(POOL, policy)
        self._engine = EngineModel(_config(workload), PROFILES[workload.profile])
        self._by_id: dict[str, Served] = {}
        self._guess: dict[str, int] = {}
        self._read: ReadEngine | None = None
        if not all(arrival.streams for arrival in workload.arrivals):
            self._read = ReadEngine(policy.pools[POOL], policy.backends[BACKEND], self._engine)

    def run(self) -> Run:
        """Play it to the end."""
        arrivals = iter(self._workload.arrivals)
        upcoming = next(arrivals, None)
        while upcoming or self._engine.due_ms is not None:
            due_ms = self._engine.due_ms
            if upcoming and (due_ms is None or upcoming.at_ms <= due_ms):
                self._read_until(upcoming.at_ms)
                self._arrive(upcoming)
                upcoming = next(arrivals, None)
            elif due_ms is not None:
                self._read_until(due_ms)
                self._step(due_ms)
        return self.run_log

    def _read_until(self, now_ms: float) -> None:
        while self._read and self._read.due_ms <= now_ms:
            at_ms = self._read.due_ms
            limit = self._read.read(self._scheduler.begin_period(at_ms), self.run_log.tokens)
            self._obey(self._scheduler.set_limit(limit, at_ms, at_ms), at_ms)

    def _arrive(self, arrival: Arrival) -> None:
        served = Served(arrival)
        name = f"request-{len(self.run_log.served)}"
        self.run_log.served.append(served)
        self._by_id[name] = served
        if arrival.at_ms < self._workload.to_ms:
            _add(
                self.run_log.demand, arrival.tenant, cost_of(arrival.prompt_tokens, arrival.completion_tokens)
            )
        ticket = Ticket(
            request_id=name,
            pool=POOL,
            model=MODEL,
            tenant=arrival.tenant,
            user=arrival.user,
            priority_class=arrival.priority_class,
            prompt_tokens=arrival.prompt_tokens,
            completion_tokens=self._guess.get(arrival.tenant, FIRST_GUESS_TOKENS),
            queued_ms=arrival.at_ms,
            streams=arrival.streams,
        )
        self._obey(self._scheduler.submit(ticket, arrival.at_ms), arrival.at_ms)

    def _obey(self, events: Iterable[Event], now_ms: float) -> None:
        for event in events:
            if isinstance(event, Dispatched):
                served = self._by_id[event.ticket.request_id]
                served.seated_ms = now_ms
                arrival = served.arrival
                self._engine.submit(
                    EngineRequest(
                        event.ticket.request_id,
                        arrival.prompt_tokens,
                        arrival.completion_tokens,
                        arrival.completion_tokens,
                    ),
                    now_ms,
                )
        if self._engine.due_ms is None and self._engine.waiting:
            self._engine.advance(now_ms)

    def _step(self, due_ms: float) -> None:
        log, engine = self.run_log, self._engine
        log.engine_queue_max = max(log.engine_queue_max, engine.waiting)
        for progress in engine.advance(due_ms):
            self._heard(progress, due_ms)
        log.ended_ms = due_ms

    def _heard(self, progress: Progress, now_ms: float) -> None:
        served = self._by_id[progress.request_id]
        arrival = served.arrival
        cost = COMPLETION_WEIGHT
        self.run_log.tokens += 1
        if served.first_token_ms is None:
            served.first_token_ms = now_ms
            cost += PROMPT_WEIGHT * arrival.prompt_tokens
            self.run_log.tokens += arrival.prompt_tokens
            if arrival.streams:
                self._obey(self._scheduler.start(progress.request_id, int(now_ms)), now_ms)
        self._count(arrival.tenant, cost, now_ms)
        if progress.finish:
            served.ended_ms = now_ms
            self._learn(arrival)
            used = cost_of(arrival.prompt_tokens, arrival.completion_tokens)
            self._obey(self._scheduler.finish(progress.request_id, used, int(now_ms)), now_ms)

    def _count(self, tenant: str, cost: int, now_ms: float) -> None:
        if now_ms < self._workload.from_ms:
            _add(self.run_log.demand, tenant, -cost)  # asked and answered before anybody measured
        elif now_ms < self._workload.to_ms:
            _add(self.run_log.service, tenant, cost)

    def _learn(self, arrival: Arrival) -> None:
        known = self._guess.get(arrival.tenant, FIRST_GUESS_TOKENS)
        moved = ((GUESS_WINDOW - 1) * known + arrival.completion_tokens) // GUESS_WINDOW
        self._guess[arrival.tenant] = max(1, moved)


def simulate(workload: Workload, fairness: str, admission: str) -> Run:
    """Play the workload under this fairness and this admission law (or ``unlimited``)."""
    return Simulation(workload, fairness, admission).run()


def _policy(workload: Workload, fairness: str, admission: str) -> Policy:
    pool = PoolRule(POOL, fairness, "first_token_window")
    cap = NO_CAP
    if admission != "first_token_window":
        pool = replace(pool, admission="static_cap")
        cap = NO_CAP if admission == UNLIMITED else workload.max_num_seqs
    return Policy(
        revision=1,
        tenants={name: TenantRule(name, weight) for name, weight in workload.weights.items()},
        pools={POOL: pool},
        backends={BACKEND: BackendRule(BACKEND, POOL, frozenset({MODEL}), cap, engine="vllm")},
    )


def _config(workload: Workload) -> EngineConfig:
    return EngineConfig(max_num_seqs=workload.max_num_seqs, kv_tokens=PROFILES[workload.profile].kv_tokens)


def _add(counts: dict[str, int], name: str, amount: int) -> None:
    counts[name] = counts.get(name, 0) + amount
