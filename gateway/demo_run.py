"""One run of demo traffic: API tokens that live as long as the run, then the traffic."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from django.conf import settings

from gateway import demo_traffic, services
from gateway.demo import BY, GREEDY, KEY, QUIET
from scheduling.valkey import async_client

log = logging.getLogger(__name__)

SETTLE_S = 1.5  # every gateway knows a new API token within a second
MARGIN = timedelta(minutes=1)


def run(model: str, until_s: float) -> int:
    """Issue short-lived API tokens, drive the traffic, revoke them; requests answered."""
    ends = datetime.fromtimestamp(until_s, UTC)
    issued = {
        tenant: services.issue_token(
            tenant=tenant, name=f"demo traffic {ends:%Y-%m-%d %H:%M:%S}", by=BY, expires_at=ends + MARGIN
        )
        for tenant in (GREEDY, *QUIET)
    }
    try:
        answered = asyncio.run(
            _drive(model, {tenant: token.secret for tenant, token in issued.items()}, until_s)
        )
    finally:
        for token in issued.values():
            services.revoke_token(token_id=token.token.pk, by=BY)
    log.info("demo traffic ended: %s requests answered", answered)
    return answered


async def _drive(model: str, secrets: dict[str, str], until_s: float) -> int:
    bus = async_client()

    async def still_wanted() -> bool:
        return bool(await bus.exists(KEY))

    try:
        await asyncio.sleep(SETTLE_S)
        wanted = demo_traffic.until(until_s, still_wanted)
        return await demo_traffic.drive(str(settings.KNOBS["FAIRLANE_GATEWAY_URL"]), model, secrets, wanted)
    finally:
        with suppress(OSError):
            await bus.aclose()
