"""``GET /v1/usage``: what the tenant used, from its usage records."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from gateway.errors import Invalid, NotFound
from gateway.selectors import EARLIEST, LATEST, Span, UsageSum, usage
from gateway.visit import Visit

GRAINS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
MOST_STEPS = 1000  # minutes, hours or days in one answer
LONGEST = timedelta(days=3660)
DEFAULT_SPAN = timedelta(days=1)


async def answer(visit: Visit) -> None:
    """Sums by model from ``since`` until before ``until``, and by ``grain`` where it is given."""
    if visit.rest:
        raise NotFound
    visit.read_only()
    visit.gateway.own.status_rate.ask(visit.caller.token_id)
    asked = visit.asked("since", "until", "grain", "model")
    grain, span = asked.get("grain", ""), _span(visit.caller.tenant, asked)
    _check(span, grain)
    rows = await visit.gateway.own.reads.run(lambda: usage(span, by=("model",), bucket=grain))
    body = {
        "object": "usage",
        "since": span.since.isoformat(),
        "until": span.until.isoformat(),
        "grain": grain or None,
        "data": [_row(row) for row in rows],
    }
    await visit.say(msgspec.json.encode(body))


def _span(tenant: str, asked: dict[str, str]) -> Span:
    until = _moment(asked, "until") or datetime.now(UTC)
    return Span(_moment(asked, "since") or until - DEFAULT_SPAN, until, tenant, asked.get("model", ""))


def _check(span: Span, grain: str) -> None:
    if grain and grain not in GRAINS:
        raise Invalid(f"grain must be one of {', '.join(GRAINS)}, or left out for one sum.", param="grain")
    if span.since >= span.until:
        raise Invalid("since must be before until.", param="since")
    longest = MOST_STEPS * GRAINS[grain] if grain else LONGEST
    if span.until - span.since > longest:
        what = f"{MOST_STEPS} {grain}s" if grain else f"{LONGEST.days} days"
        raise Invalid(f"since is too early: at most {what} are told at once.", param="since")


def _moment(asked: dict[str, str], name: str) -> datetime | None:
    """ISO 8601 with a zone, or Unix seconds."""
    text = asked.get(name)
    if text is None:
        return None
    try:
        if text.isascii() and text.isdigit():
            moment = datetime.fromtimestamp(int(text), UTC)
        else:
            moment = datetime.fromisoformat(text.replace(" ", "+"))  # a plus sign that nobody encoded
        if moment.tzinfo is not None and EARLIEST <= moment < LATEST:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise Invalid(
        f"{name} must be a moment such as 2027-01-31T12:00:00Z, or Unix seconds.", param=name
    ) from None


def _row(row: UsageSum) -> dict[str, Any]:
    """The sums that the records give, under the names that the records have."""
    shown = {name: value for name, value in asdict(row).items() if name not in ("tenant", "at", "cost")}
    if row.at is not None:
        shown["at"] = row.at.isoformat()
    return {**shown, "cost_tokens": row.cost}
