"""Random histories for the referee."""

from __future__ import annotations

import random
from dataclasses import replace

from scheduling.core.limits import Limit
from scheduling.core.policy import FAIRNESS, ClassRule, Policy, TenantRule
from scheduling.core.ticket import Ticket
from tests.unit.scheduling.machines import CLASSES, POOL, backend, policy, ticket
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
        rng.choice((*FAIRNESS, "token_fair", "token_fair")),
        weights={name: rng.randint(1, 9) for name in ("acme", "beta")},
        backends=[replace(rule, learns_cap=rng.random() < 0.2) for rule in backends],
        classes=random_classes(rng),
        admission=rng.choice(("static_cap", "first_token_window", "queue_target")),
        window=rng.randint(1, 3),
        revision=revision,
    )
    tenants = dict(rules.tenants)
    if rng.random() < 0.4:
        tenants["acme"] = replace(tenants["acme"], quotas={"in_flight": rng.randint(1, 3)})
    if rng.random() < 0.3:
        quotas = {"qwen": {"in_flight": rng.randint(1, 2)}}
        tenants["acme"] = replace(tenants["acme"], model_quotas=quotas)
    if rng.random() < 0.1:
        tenants["beta"] = TenantRule("beta", suspended=True)
    pool = replace(
        rules.pools[POOL],
        counts_sent=rng.random() < 0.7,
        prefix_slack_requests=rng.choice((None, 0, 1)),
        engine_priority=rng.choice(("off", "off", "with_window", "with_window", "alone")),
    )
    return replace(rules, tenants=tenants, pools={POOL: pool})


def random_classes(rng: random.Random) -> dict[str, ClassRule]:
    """Sometimes none; sometimes such as lend what they have reserved."""
    if rng.random() < 0.2:
        return {}
    lent = rng.randint(0, 2)
    return {**CLASSES, "interactive": replace(CLASSES["interactive"], reserved_seats=2, lent_seats=lent)}


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
        prefixes=tuple(range(rng.randint(0, 2), 4)) if rng.random() < 0.5 else (),
        not_before_ms=now_ms + rng.choice((-5, 90, 4_000)) if rng.random() < 0.15 else None,
        **random_token(rng),
    )


def random_token(rng: random.Random) -> dict[str, object]:
    """Sometimes an API token that may have one request going, or two."""
    if rng.random() < 0.8:
        return {}
    most = rng.randint(1, 2)
    return {"api_token": f"ci-{most}", "api_token_in_flight": most}


def random_step(referee: Referee, rng: random.Random, number: int) -> None:
    """One input, steered so that lines form: submit is the most frequent."""
    choice = rng.random()
    if choice < 0.38:
        referee.submit(random_ticket(rng, number, referee.now))
    elif choice < 0.43:
        _steer(referee, rng)
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


def _steer(referee: Referee, rng: random.Random) -> None:
    """An admin does something; a pause is soon over."""
    tenant = rng.choice(("acme", "beta", None))
    choice = rng.random()
    if choice < 0.15:
        referee.pause(tenant)
    elif choice < 0.5:
        for each in ("acme", "beta", None):
            referee.resume(each)
    elif choice < 0.65:
        referee.boost(tenant or "gamma", rng.choice((1, 2, 50)), referee.now + rng.choice((0, 40, 9_000)))
    elif referee.waiting:
        request_id = rng.choice(sorted(referee.waiting))
        rng.choice((referee.hold, referee.release, referee.move_to_front))(request_id)


def _touch_running(referee: Referee, rng: random.Random, running: list[str]) -> None:
    if rng.random() < 0.1:
        referee.progress(rng.choice(running), rng.randint(1, 300))
    elif rng.random() < 0.4:
        referee.start(rng.choice(running))
    else:
        referee.finish(rng.choice(running), rng.choice((0, 5, 500)), refund=rng.random() < 0.2)


def _touch_backend(referee: Referee, rng: random.Random, number: int) -> None:
    name = rng.choice(sorted(referee.policy.backends))
    choice = rng.random()
    if choice < 0.1:
        referee.begin_period()
    elif choice < 0.5:
        referee.limit(random_limit(rng, name, number), max(0, referee.now - rng.choice((0, 50, 2_000))))
    elif choice < 0.6:
        referee.throttle(name)
    else:
        referee.fail(name)


def random_limit(rng: random.Random, name: str, number: int) -> Limit:
    """Sometimes after a restart, sometimes of an engine that nobody can reach."""
    at_s = rng.choice((float(number), 1.0))
    return Limit(
        name,
        rng.randint(0, 3),
        rng.randint(0, 5),
        "test",
        epoch=number // 40 if rng.random() < 0.3 else 0,
        read_at_s=at_s,
        running=rng.choice((None, 0, 1, 2, 4)),
        running_at_s=at_s,
        grant=rng.choice((None, 0, 1, 3)),
        kv_tokens=rng.choice((None, None, None, 150, 1_100)),
        capacity=rng.choice((0, 2, 5)),
        down=rng.random() < 0.15,
    )


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


def play_siege(seed: int, steps: int = 60) -> Referee:
    """Better classes never stop asking, and the patience of the worse ones is soon at an end; refereed."""
    rng = random.Random(seed)
    classes = {
        name: ClassRule(name, rank, reserved_seats=rng.randint(0, 1), max_wait_ms=10 * rank or None)
        for rank, name in enumerate(("interactive", "standard", "batch", "scrap"))
    }
    backends = [backend("gpu-0", 3, ("llama", "qwen")), backend("gpu-1", 2, ("llama",))]
    referee = Referee(policy(rng.choice(FAIRNESS), backends=backends, classes=classes))
    for number in range(steps):
        referee.wait(rng.choice((0, 1, 7)))
        for priority_class in classes:
            one = ticket(
                f"r{number}-{priority_class}",
                rng.choice(("acme", "beta")),
                model=rng.choice(("llama", "qwen")),
                priority_class=priority_class,
                queued_ms=referee.now,
            )
            referee.submit(one)
            if referee.running and rng.random() < 0.6:
                referee.finish(rng.choice(sorted(referee.running)), rng.choice((5, 500)))
    referee.drain()
    return referee


def play_outages(seed: int, steps: int = 150) -> Referee:
    """Two backends that come and go, retries that avoid one, known heads, short grants; refereed."""
    rng = random.Random(seed)
    referee = Referee(outage_policy(rng, 1))
    for number in range(steps):
        referee.wait(rng.choice((0, 0, 0, 300, 1_000, 4_000)))
        running, name = sorted(referee.running), rng.choice(("gpu-0", "gpu-1"))
        choice = rng.random()
        if choice < 0.45:
            retry = {"attempt": 2, "avoid": frozenset({name})} if rng.random() < 0.3 else {}
            head = 10 * rng.randint(0, 4)
            tenant = rng.choice("ab")
            referee.submit(
                ticket(
                    f"r{number}",
                    tenant,
                    queued_ms=referee.now,
                    prefixes=tuple(range(head, head + rng.randint(1, 3))),
                    **retry,
                )
            )
        elif choice < 0.62 and running:
            referee.start(rng.choice(running))
        elif choice < 0.78 and running:
            referee.finish(rng.choice(running), 100, refund=rng.random() < 0.3)
        elif choice < 0.87:
            at_s, epoch = float(number), number // 25
            grant, capacity = rng.choice((None, 0, 2)), rng.choice((0, 2, 9))
            down = rng.random() < 0.4
            limit = Limit(name, 4, 4, "test", epoch, at_s, 0, at_s, grant, capacity=capacity, down=down)
            referee.limit(limit)
        elif choice < 0.96:
            referee.fail(name)
        else:
            referee.obey(outage_policy(rng, number + 2))
    referee.drain()
    return referee


def outage_policy(rng: random.Random, revision: int) -> Policy:
    backends = [backend("gpu-0", 4), backend("gpu-1", 3)]
    admission = rng.choice(("static_cap", "first_token_window", "queue_target", "queue_target"))
    rules = policy(rng.choice(FAIRNESS), backends=backends, admission=admission, revision=revision)
    pool = replace(
        rules.pools[POOL],
        counts_sent=rng.random() < 0.7,
        prefix_slack_requests=rng.choice((0, 1, 2)),
        engine_priority="with_window",
    )
    return replace(rules, pools={POOL: pool})
