"""The queue page of one pool: one row per tenant, entitled against served."""

from __future__ import annotations

from collections.abc import Iterable

from dashboard import words
from dashboard.boards import notice
from dashboard.boards.board import Attributes, Board, Row, state
from gateway.pictures import Picture, PoolPicture, TenantPicture
from scheduling.core.policy import FAIRNESS, Policy, TenantRule

TEMPLATE = "dashboard/partials/queue_row.html"
EMPTY_TEMPLATE = "dashboard/partials/queue_empty.html"
TABLE = "queue-rows"
MOST_ROWS = 200  # a browser patches this many in a few milliseconds
SCALES = (0.05, 0.1, 0.25, 0.5, 1.0)  # a bar's full width, so that 100 small shares can still be seen
BAR_WIDTH = 100


def build(policy: Policy, picture: Picture, pool: str, now_s: float) -> Board:
    """The board of a pool at a Unix time. A pool that no gateway knows yet shows its tenants idle."""
    seen = picture.pool(pool)
    lines = {line.tenant: line for line in seen.tenants} if seen else {}
    shown = _shown(policy, lines)
    scale = _scale(lines[slug] for slug in shown if slug in lines)
    rows = tuple(_row(policy, pool, lines.get(slug) or slug, (scale, now_s)) for slug in shown)
    told = notice.alone(picture)
    hidden = len(policy.tenants) - len(shown)
    return Board(
        text={
            **told["text"],
            **_head(policy, pool, seen),
            "queue_more": _more(hidden),
            "queue_scale": f"{scale:.0%}",
        },
        attrs={
            **told["attrs"],
            **{f"fairness_{name}": _pressed(policy, pool, name) for name in FAIRNESS},
            **_pause_attributes(_is_paused(policy, pool)),
        },
        rows=rows or (Row(id="queue-empty", table=TABLE, template=EMPTY_TEMPLATE, fixed={}),),
    )


def _shown(policy: Policy, lines: dict[str, TenantPicture]) -> list[str]:
    """Tenants with work or service first, then the idle, as many as fit; by name, so rows never jump."""
    live = sorted(lines, key=lambda slug: (-lines[slug].queued, -lines[slug].served_tokens_5m, slug))
    idle = (slug for slug in sorted(policy.tenants) if slug not in lines)
    room = live[:MOST_ROWS]
    return sorted([*room, *(slug for slug, _ in zip(idle, range(MOST_ROWS - len(room)), strict=False))])


def _scale(lines: Iterable[TenantPicture]) -> float:
    most = max(
        (share for line in lines for share in (line.entitled, line.served_1m, line.served_5m) if share),
        default=1.0,
    )
    return next((scale for scale in SCALES if most <= scale), 1.0)


def _head(policy: Policy, pool: str, seen: PoolPicture | None) -> dict[str, str]:
    paused = _is_paused(policy, pool)
    backends = seen.backends if seen else ()
    open_gates = [gate for gate in backends if not gate.draining]
    pending = sum(gate.pending_first_token for gate in open_gates)
    return {
        "pool_queued": words.count(seen.queued if seen else None),
        "pool_oldest": words.milliseconds(seen.oldest_wait_ms) if seen else words.UNKNOWN,
        "pool_in_flight": words.count(seen.in_flight if seen else None),
        "pool_limit": f"of {words.count(sum(gate.cap for gate in open_gates))} seats",
        "pool_tokens": words.count(seen.tokens_per_s if seen else None),
        "pool_jain": words.index(seen.jain if seen else None),
        "pool_window": f"{pending} of {sum(gate.window for gate in open_gates)}",
        "pool_in_force": _in_force(policy, pool, seen),
        "pool_state": "paused" if paused else "",
        "pool_pause": "Resume pool" if paused else "Pause pool",
    }


def _in_force(policy: Policy, pool: str, seen: PoolPicture | None) -> str:
    """Says when a gateway still obeys another policy than the one that was chosen."""
    rule = policy.pools.get(pool)
    if seen is None or rule is None:
        return ""
    if seen.fairness != rule.fairness:
        return f"The gateway still uses {seen.fairness.replace('_', ' ')}."
    if seen.paused != rule.paused:
        return f"The gateway {'is still paused' if seen.paused else 'still seats requests'}."
    return ""


def _is_paused(policy: Policy, pool: str) -> bool:
    rule = policy.pools.get(pool)
    return rule is not None and rule.paused


def _pause_attributes(paused: bool) -> dict[str, Attributes]:  # noqa: FBT001
    return {
        "pool_state": state("warn") if paused else {"class": ""},
        "pool_pause": {"value": "no" if paused else "yes"},
    }


def _pressed(policy: Policy, pool: str, fairness: str) -> Attributes:
    rule = policy.pools.get(pool)
    return {"aria-pressed": "true" if rule and rule.fairness == fairness else "false"}


def _more(hidden: int) -> str:
    return f"{words.plural(hidden, 'more tenant')} not shown: see Tenants." if hidden > 0 else ""


def _row(policy: Policy, pool: str, shown: TenantPicture | str, drawn: tuple[float, float]) -> Row:
    scale, now_s = drawn
    line, slug = (None, shown) if isinstance(shown, str) else (shown, shown.tenant)
    rule = policy.tenants.get(slug, TenantRule(slug, weight=line.weight if line else 1))
    kind, word = activity(rule, line)
    entitled = line.entitled if line else None
    return Row(
        id=f"q-{slug}",
        table=TABLE,
        template=TEMPLATE,
        fixed={
            "slug": slug,
            "pool": pool,
            "weight": rule.weight,
            "priority_class": rule.priority_class,
            "suspended": rule.suspended,
            "known": slug in policy.tenants,
        },
        text={
            "state": word,
            "queued": words.count(line.queued if line else 0),
            "oldest": words.milliseconds(line.oldest_wait_ms if line else None),
            "in_flight": words.count(line.in_flight if line else 0),
            "entitled": words.percent(entitled),
            "served_1m": words.percent(line.served_1m if line else None),
            "served_5m": words.percent(line.served_5m if line else None),
            "boost": words.boost(rule.boost_at(now_s), rule.boost_until_s, now_s),
            "applying": f"{line.weight} in force" if line and line.weight != rule.weight else "",
        },
        attrs={
            "state": state(kind),
            "bar_1m": _width(line.served_1m if line else None, scale),
            "bar_5m": _width(line.served_5m if line else None, scale),
            "mark_1m": _width(entitled, scale),
            "mark_5m": _width(entitled, scale),
        },
    )


def activity(rule: TenantRule, line: TenantPicture | None) -> tuple[str, str]:
    """What a tenant does now: the kind of its state, and the word."""
    if rule.suspended:
        return "warn", "suspended"
    if rule.paused:
        return "warn", "paused"
    if line is None or not (line.queued or line.in_flight):
        return "quiet", "idle"
    at_quota = rule.quotas.get("in_flight")
    if line.queued and at_quota and line.in_flight >= at_quota:
        return "warn", "at its in-flight quota"
    return ("busy", "waiting") if line.queued else ("ok", "running")


def _width(share: float | None, scale: float) -> Attributes:
    return {"width": f"{min(1.0, (share or 0.0) / scale) * BAR_WIDTH:.1f}"}
