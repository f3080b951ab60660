"""The overview: a verdict first, then the figures it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard import words
from dashboard.boards import backends, notice
from dashboard.boards.backends import Moment, States
from dashboard.boards.board import Board, Row, state
from gateway.pictures import Picture, PoolPicture
from scheduling.core.policy import Policy, PoolRule

PICTURE_STALE_S = 3.0  # a gateway publishes twice a second
LONG_WAIT_MS = 30_000  # a person at a chat gives up by then
STARVED_MS = 2_000  # who waits so long and gets under half of its share is not merely in a burst
STARVED_SHARE = 0.5

POOL_TABLE = "pool-rows"
POOL_TEMPLATE = "dashboard/partials/pool_row.html"
POOL_EMPTY = Row(id="pool-empty", table=POOL_TABLE, template="dashboard/partials/pool_empty.html", fixed={})

Verdict = tuple[str, str, str]  # kind, word, sentence


def build(policy: Policy, picture: Picture, states: States, moment: Moment) -> Board:
    """The board of the overview."""
    kind, word, sentence = verdict(policy, picture, states, moment)
    told = notice.alone(picture)
    pools = tuple(_pool_row(policy, name, picture.pool(name)) for name in sorted(policy.pools))
    return Board(
        text={**told["text"], **_tiles(picture.pools), "verdict_word": word, "verdict_text": sentence},
        attrs={**told["attrs"], "verdict": {"class": f"verdict {kind}"}},
        rows=(
            *(pools or (POOL_EMPTY,)),
            *backends.build(policy, picture, states, moment).rows,
        ),
    )


def verdict(policy: Policy, picture: Picture, states: States, moment: Moment) -> Verdict:
    """One sentence on how things stand; the first that applies, the worst first."""
    if not picture.gateways:
        return (
            "bad",
            "No gateway",
            "No gateway publishes its queue. Is one running? Start it with: manage.py serve",
        )
    if (age := moment.now_s - picture.at_s) > PICTURE_STALE_S:
        return "bad", "Stale", f"The last picture is {words.milliseconds(age * 1000)} old."
    return (
        _no_backend(policy)
        or _backends_verdict(policy, picture, states, moment)
        or _queue_verdict(picture)
        or _calm(sum(pool.in_flight for pool in picture.pools))
    )


def _no_backend(policy: Policy) -> Verdict | None:
    if policy.backends:
        return None
    return "quiet", "No backend", "Add a backend, and the queue begins to move."


def _backends_verdict(policy: Policy, picture: Picture, states: States, moment: Moment) -> Verdict | None:
    gates = picture.gates()
    health = {
        name: backends.health(rule, states.get(name), moment, gates.get(name))
        for name, rule in sorted(policy.backends.items())
    }
    if cut_off := [name for name, (_, word) in health.items() if word == backends.CIRCUIT_OPEN]:
        tries = f"{', '.join(cut_off)} cannot be reached, so requests are kept from it"
        return "bad", "Degraded", f"{tries}; now and then one tries."
    if failing := [name for name, (kind, _) in health.items() if kind == "bad"]:
        why = states[failing[0]].error
        return "bad", "Degraded", f"The metrics of {', '.join(failing)} cannot be read: {why}."
    if all(rule.draining for rule in policy.backends.values()):
        return "bad", "Closed", "Every backend is draining: nothing is dispatched."
    if picture.alone:
        return "busy", "Degraded", "Gateways read the engines themselves, so readings shown here are old."
    if stale := [name for name, (_, word) in health.items() if word == "metrics stale"]:
        return "busy", "Degraded", f"The metrics of {', '.join(stale)} are stale; their limits stand still."
    return None


def _queue_verdict(picture: Picture) -> Verdict | None:
    slowest = max(picture.pools, key=lambda pool: pool.oldest_wait_ms or 0, default=None)
    if slowest is None or not slowest.queued:
        return None
    waits = words.milliseconds(slowest.oldest_wait_ms)
    line = f"{slowest.pool} has {words.plural(slowest.queued, 'request')} waiting, the oldest for {waits}"
    if starved := _starved(picture):
        return "busy", "Unfair", starved
    if stopped := [pool for pool in picture.pools if pool.paused and pool.queued]:
        names = ", ".join(pool.pool for pool in stopped)
        waiting = words.plural(sum(pool.queued for pool in stopped), "request")
        return "busy", "Paused", f"Nothing is seated in {names} until it is resumed: {waiting} waiting."
    if (slowest.oldest_wait_ms or 0) > LONG_WAIT_MS:
        return "busy", "Saturated", f"{line}."
    return "ok", "Busy", f"{line}."


def _starved(picture: Picture) -> str:
    """Names the tenant that is furthest below its share while it waits; empty when none is."""
    below = [
        ((line.served_1m or 0.0) / line.entitled, line, pool)
        for pool in picture.pools
        for line in pool.tenants
        if not pool.paused and line.entitled and (line.oldest_wait_ms or 0) > STARVED_MS
    ]
    ratio, line, pool = min(below, key=lambda each: each[0], default=(1.0, None, None))
    if line is None or pool is None or ratio >= STARVED_SHARE:
        return ""
    return (
        f"{line.tenant} waits for {words.milliseconds(line.oldest_wait_ms)} in {pool.pool} and was served "
        f"{words.percent(line.served_1m or 0.0)} in the last minute, where {words.percent(line.entitled)} "
        f"is its share. The pool's policy is {pool.fairness.replace('_', ' ')}."
    )


def _calm(in_flight: int) -> Verdict:
    if in_flight:
        return "ok", "Healthy", f"{words.plural(in_flight, 'request')} in flight, nothing waits."
    return "ok", "Healthy", "Nothing waits and nothing runs."


def _tiles(pools: Sequence[PoolPicture]) -> dict[str, str]:
    waits = [pool.oldest_wait_ms for pool in pools if pool.oldest_wait_ms is not None]
    indexes = [pool.jain for pool in pools if pool.jain is not None]
    gates = [gate for pool in pools for gate in pool.backends if not gate.draining]
    cap = sum(gate.cap for gate in gates)
    used = sum(gate.in_flight for gate in gates)
    return {
        "tile_queued": words.count(sum(pool.queued for pool in pools) if pools else None),
        "tile_oldest": words.milliseconds(max(waits, default=None)),
        "tile_in_flight": words.count(sum(pool.in_flight for pool in pools) if pools else None),
        "tile_tokens": words.count(sum(pool.tokens_per_s for pool in pools) if pools else None),
        "tile_jain": words.index(min(indexes, default=None)),
        "tile_limit": words.percent(used / cap if cap else None),
        "tile_limit_note": f"{used} of {cap} seats" if cap else "no open seats",
    }


def _pool_row(policy: Policy, name: str, seen: PoolPicture | None) -> Row:
    gates = [gate for gate in (seen.backends if seen else ()) if not gate.draining]
    kind, word = _pool_state(seen, policy.pools[name])
    return Row(
        id=f"p-{name}",
        table=POOL_TABLE,
        template=POOL_TEMPLATE,
        fixed={"name": name, "fairness": policy.pools[name].fairness},
        text={
            "state": word,
            "queued": words.count(seen.queued if seen else None),
            "oldest": words.milliseconds(seen.oldest_wait_ms if seen else None),
            "in_flight": words.count(seen.in_flight if seen else None),
            "cap": words.count(sum(gate.cap for gate in gates)),
            "pending": words.count(sum(gate.pending_first_token for gate in gates)),
            "window": words.count(sum(gate.window for gate in gates)),
            "jain": words.index(seen.jain if seen else None),
        },
        attrs={"state": state(kind)},
    )


def _pool_state(seen: PoolPicture | None, rule: PoolRule) -> tuple[str, str]:
    if rule.paused:
        return "warn", "paused"
    if seen is None:
        return "quiet", "no gateway"
    if not seen.backends:
        return "warn", "no backend"
    if all(gate.draining for gate in seen.backends):
        return "warn", "draining"
    if seen.queued:
        return "busy", "queueing"
    return ("ok", "running") if seen.in_flight else ("quiet", "idle")
