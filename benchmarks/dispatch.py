"""How long one request keeps the machine busy: submit, dispatch, first token, finish.

Prints one JSON line: per policy and number of flows, and once more with
100,000 requests queued by 1,000 flows. Every flow always has a request
waiting, so each cycle decides among all flows. CPU time, best of the rounds:
on a shared machine the others measure the neighbours.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scheduling.core.events import Event
from scheduling.core.policy import FAIRNESS, BackendRule, Policy, PoolRule
from scheduling.core.scheduler import Scheduler
from scheduling.core.ticket import Ticket

FLOWS = (10, 1_000, 10_000)
QUEUED, QUEUED_BY = 100_000, 1_000
CYCLES = 10_000
ROUNDS = 5
DEADLINE_MS = 600_000


def policy(fairness: str) -> Policy:
    backends = [BackendRule(f"gpu-{n}", "main", frozenset({"llama"}), max_in_flight=32) for n in range(2)]
    return Policy(
        revision=1,
        pools={"main": PoolRule("main", fairness=fairness)},
        backends={backend.name: backend for backend in backends},
    )


def ticket(name: str, flow: int, prompt_tokens: int) -> Ticket:
    return Ticket(
        request_id=name,
        pool="main",
        model="llama",
        tenant=f"tenant-{flow}",
        user="user",
        priority_class="standard",
        prompt_tokens=prompt_tokens,
        completion_tokens=100,
        queued_ms=0,
        deadline_ms=DEADLINE_MS,
    )


def cycle_us(fairness: str, flows: int, queued: int = 0) -> float:
    """Microseconds per request with this many flows waiting, and so many requests, if more."""
    scheduler = Scheduler("main", policy(fairness))
    running: deque[Event] = deque()
    for number in range(max(flows, queued)):
        running.extend(scheduler.submit(ticket(f"first-{number}", number % flows, 100), 0))
    best = float("inf")
    for number in range(ROUNDS):
        tickets = [ticket(f"{number}-{n}", n % flows, 100 + n % 97) for n in range(CYCLES)]
        began = time.process_time()
        for one in tickets:
            running.extend(scheduler.submit(one, number))
            request_id = running.popleft().ticket.request_id
            running.extend(scheduler.start(request_id, number))
            running.extend(scheduler.finish(request_id, 280, number))
        best = min(best, (time.process_time() - began) / CYCLES * 1e6)
    return round(best, 2)


def main() -> None:
    result = {
        fairness: {str(flows): cycle_us(fairness, flows) for flows in FLOWS}
        | {f"{QUEUED_BY}, {QUEUED} queued": cycle_us(fairness, QUEUED_BY, QUEUED)}
        for fairness in FAIRNESS
    }
    print(json.dumps({"benchmark": "dispatch", "unit": "us_per_request", "cycles": CYCLES, **result}))


if __name__ == "__main__":
    main()
