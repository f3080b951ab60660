"""The cast of the machine's tests: policies, tickets, and a way to serve a whole line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from scheduling.core.events import Dispatched, Event
from scheduling.core.policy import BackendRule, ClassRule, Policy, PoolRule, TenantRule
from scheduling.core.scheduler import Scheduler
from scheduling.core.ticket import Ticket

POOL = "main"
WINDOWED = {"admission": "first_token_window"}
CLASSES = {
    "interactive": ClassRule("interactive", 0, reserved_seats=1, max_wait_ms=5_000),
    "standard": ClassRule("standard", 1, max_wait_ms=20_000),
    "batch": ClassRule("batch", 2, max_wait_ms=60_000),
}


def policy(
    fairness: str = "token_fair",
    *,
    weights: Mapping[str, int] | None = None,
    backends: Iterable[BackendRule] | None = None,
    classes: Mapping[str, ClassRule] | None = None,
    admission: str = "static_cap",
    window: int = 3,
    seats: int = 1,
    revision: int = 1,
) -> Policy:
    """One pool; by default one backend of one seat, which serves one model."""
    rules = list(backends) if backends is not None else [backend("gpu-0", seats)]
    return Policy(
        revision=revision,
        tenants={name: TenantRule(name, weight) for name, weight in (weights or {}).items()},
        classes=classes or {},
        pools={POOL: PoolRule(POOL, fairness, admission, window)},
        backends={rule.name: rule for rule in rules},
    )


def backend(name: str, seats: int = 1, models: Iterable[str] = ("llama",), *, draining: bool = False):
    return BackendRule(name, POOL, frozenset(models), seats, draining)


def ticket(name: str, tenant: str = "", *, cost: int = 100, **fields) -> Ticket:
    """A ticket of ``cost`` cost tokens; its tenant is the name before the dash if not said."""
    defaults = {
        "pool": POOL,
        "model": "llama",
        "tenant": tenant or name.partition("-")[0],
        "user": "user",
        "priority_class": "standard",
        "prompt_tokens": cost,
        "completion_tokens": 0,
        "queued_ms": 0,
    }
    return Ticket(request_id=name, **{**defaults, **fields})


def dispatched(events: Iterable[Event]) -> list[str]:
    return [event.ticket.request_id for event in events if isinstance(event, Dispatched)]


def serve_all(scheduler: Scheduler, running: list[str], *, limit: int = 10_000) -> list[str]:
    """Finish what runs, oldest seat first, at 100 cost tokens each; the order of seats."""
    order, left = list(running), list(running)
    while left and len(order) < limit:
        seated = dispatched(scheduler.finish(left.pop(0), 100, 0))
        left += seated
        order += seated
    return order


def paused_machine(seats: int = 8, waiting: int = 0, **fields) -> Scheduler:
    """One backend, and a line of requests that were not seated yet."""
    made = Scheduler(POOL, policy(seats=seats, **fields))
    made.pause(None, 0)
    for n in range(waiting):
        made.submit(ticket(f"acme-{n}"), 0)
    return made
