"""The tenants' list and one tenant's page."""

from __future__ import annotations

from collections.abc import Iterable

from dashboard import words
from dashboard.boards.board import Board, Row, state
from dashboard.boards.queues import activity
from gateway.pictures import Picture, TenantPicture
from scheduling.core.policy import Policy, TenantRule

TEMPLATE = "dashboard/partials/tenant_row.html"
TABLE = "tenant-rows"
PAGE_ROWS = 100


def build(policy: Policy, picture: Picture, slugs: Iterable[str], now_s: float) -> Board:
    """Rows of these tenants at a Unix time, over all pools."""
    lines = _lines(picture)
    known = (policy.tenants[slug] for slug in slugs if slug in policy.tenants)
    return Board(rows=tuple(row(rule, lines.get(rule.slug, []), now_s) for rule in known))


def row(rule: TenantRule, lines: list[TenantPicture], now_s: float) -> Row:
    """One tenant's row."""
    busiest = max(lines, key=lambda line: (line.queued, line.in_flight), default=None)
    kind, word = activity(rule, busiest)
    waits = [line.oldest_wait_ms for line in lines if line.oldest_wait_ms is not None]
    return Row(
        id=f"t-{rule.slug}",
        table=TABLE,
        template=TEMPLATE,
        fixed={
            "slug": rule.slug,
            "weight": rule.weight,
            "priority_class": rule.priority_class,
            "suspended": rule.suspended,
            "quotas": tuple(sorted(rule.quotas.items())),
        },
        text={
            "state": word,
            "queued": words.count(sum(line.queued for line in lines)),
            "oldest": words.milliseconds(max(waits, default=None)),
            "in_flight": words.count(sum(line.in_flight for line in lines)),
            "boost": words.boost(rule.boost_at(now_s), rule.boost_until_s, now_s),
        },
        attrs={"state": state(kind)},
    )


def build_one(policy: Policy, picture: Picture, slug: str, now_s: float) -> Board:
    """One tenant's page: what it does in each pool."""
    rule = policy.tenants.get(slug)
    if rule is None:
        return Board()
    lines = [(pool.pool, line) for pool in picture.pools for line in pool.tenants if line.tenant == slug]
    shown = row(rule, [line for _, line in lines], now_s)
    return Board(
        text={
            "tenant_state": shown.text["state"],
            "tenant_boost": words.boost(rule.boost, rule.boost_until_s, now_s),
        },
        attrs={"tenant_state": shown.attrs["state"]},
        rows=tuple(_pool_row(pool, line) for pool, line in lines)
        or (
            Row(
                id="tenant-pools-empty",
                table="tenant-pool-rows",
                template="dashboard/partials/tenant_pool_empty.html",
                fixed={"slug": slug},
            ),
        ),
    )


def _pool_row(pool: str, line: TenantPicture) -> Row:
    return Row(
        id=f"tp-{pool}",
        table="tenant-pool-rows",
        template="dashboard/partials/tenant_pool_row.html",
        fixed={"pool": pool},
        text={
            "queued": words.count(line.queued),
            "oldest": words.milliseconds(line.oldest_wait_ms),
            "in_flight": words.count(line.in_flight),
            "entitled": words.percent(line.entitled),
            "served_1m": words.percent(line.served_1m),
            "served_5m": words.percent(line.served_5m),
        },
    )


def _lines(picture: Picture) -> dict[str, list[TenantPicture]]:
    found: dict[str, list[TenantPicture]] = {}
    for pool in picture.pools:
        for line in pool.tenants:
            found.setdefault(line.tenant, []).append(line)
    return found
