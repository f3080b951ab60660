"""Random histories for the referee."""

from __future__ import annotations

import random
from dataclasses import replace

from scheduling.core.limits import Limit
from scheduling.core.policy import Policy, TenantRule
from scheduling.core.ticket import Ticket
from tests.unit.scheduling.machines import CLASSES, backend, policy, ticket
from tests.unit.scheduling.referee import Referee


def random_policy(rng: random.Random, revision: int) -> Policy:
    """Two models on three backends, in some state of the installation."""
    draining = rng.random() < 0.2
    backends = [
        backend("gpu-0", rng.randint(1, 4), ("llama", "qwen")),
        backend("gpu-1", rng.randint(1, 4), ("llama",), draining=draining),
        backend("gpu-2", rng.randint(1, 3), ("qwen",)),
    ]
    if rng.random() < 0.15:
        backends.pop(rng.randrange(3))
    rules = policy(
        rng.choice(("fifo", "round_robin", "token_fair", "token_fair")),
        weights={name: rng.randint(1, 9) for name in ("acme", "beta")},
        backends=backends,
        classes=CLASSES if rng.random() < 0.8 else {},
        admission=rng.choice(("static_cap", "first_token_window")),
        window=rng.randint(1, 3),
        revision=revision,
    )
    tenants = dict(rules.tenants)
    if rng.random() < 0.4:
        tenants["acme"] = replace(tenants["acme"], quotas={"in_flight": rng.randint(1, 3)})
    if rng.random() < 0.1:
        tenants["beta"] = TenantRule("beta", suspended=True)
    return replace(rules, tenants=tenants)


def random_ticket(rng: random.Random, number: int, now_ms: int) -> Ticket:
    retry = rng.random() < 0.1
    return ticket(
        f"r{number}",
        rng.choice(("acme", "acme", "beta", "gamma")),
        cost=rng.choice((0, 1, 10, 100, 1000)),
        user=rng.choice(("ann", "bob")),
        model=rng.choice(("llama", "qwen")),
        priority_class=rng.choice(tuple(CLASSES)),
        queued_ms=now_ms,
        deadline_ms=now_ms + rng.choice((50, 5_000)) if rng.random() < 0.3 else None,
        attempt=2 if retry else 1,
        avoid=frozenset({rng.choice(("gpu-0", "gpu-1"))}) if retry else frozenset(),
        streams=rng.random() < 0.6,
    )


def random_step(referee: Referee, rng: random.Random, number: int) -> None:
    """One input, steered so that lines form: submit is the most frequent."""
    choice = rng.random()
    if choice < 0.4:
        referee.submit(random_ticket(rng, number, referee.now))
    elif choice < 0.75 and referee.running:
        _touch_running(referee, rng, sorted(referee.running))
    elif choice < 0.8 and referee.waiting:
        referee.cancel(rng.choice(sorted(referee.waiting)))
    elif choice < 0.88:
        referee.wait(rng.choice((1, 100, 1_000, 30_000)))
    elif choice < 0.97:
        _touch_backend(referee, rng, number)
    else:
        referee.obey(random_policy(rng, referee.policy.revision + 1))


def _touch_running(referee: Referee, rng: random.Random, running: list[str]) -> None:
    if rng.random() < 0.4:
        referee.start(rng.choice(running))
    else:
        referee.finish(rng.choice(running), rng.choice((0, 5, 500)), refund=rng.random() < 0.2)


def _touch_backend(referee: Referee, rng: random.Random, number: int) -> None:
    name = rng.choice(sorted(referee.policy.backends))
    if rng.random() < 0.6:
        at_s = rng.choice((float(number), 1.0))
        running = rng.choice((None, 0, 1, 2, 4))
        limit = Limit(name, rng.randint(0, 3), rng.randint(0, 5), "test", 0, at_s, running, at_s)
        referee.limit(limit, max(0, referee.now - rng.choice((0, 50, 2_000))))
    else:
        referee.throttle(name)


def play(seed: int, steps: int = 120) -> Referee:
    """A whole random history, refereed."""
    rng = random.Random(seed)
    referee = Referee(random_policy(rng, 1))
    for number in range(steps):
        random_step(referee, rng, number)
    referee.drain()
    return referee


def play_readings(seed: int, steps: int = 150) -> Referee:
    """A history in which the window is short, and readings are late, repeated or missing; refereed."""
    rng = random.Random(seed)
    referee = Referee(policy(seats=12, window=rng.randint(2, 6), admission="first_token_window"))
    read_at_s = 0.0
    for number in range(steps):
        referee.wait(rng.choice((0, 1, 20)))
        running = sorted(referee.running)
        choice = rng.random()
        if choice < 0.45:
            one = ticket(f"r{number}", rng.choice("ab"), queued_ms=referee.now, streams=rng.random() < 0.4)
            referee.submit(one)
        elif choice < 0.6 and running:
            referee.start(rng.choice(running))
        elif choice < 0.75 and running:
            referee.finish(rng.choice(running), 100)
        else:
            if rng.random() < 0.7:
                read_at_s = float(number)
            at_work = None if rng.random() < 0.1 else rng.randint(0, len(running) + 1)
            limit = Limit("gpu-0", rng.randint(2, 6), 12, "test", 0, float(number), at_work, read_at_s)
            referee.limit(limit, max(0, referee.now - rng.choice((0, 10, 60))))
    referee.drain()
    return referee
