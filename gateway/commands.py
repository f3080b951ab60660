"""Commands of admins, run once by the gateway that holds their target."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import django.db

from gateway.threads import closing
from scheduling import selectors, services
from scheduling.models import Command

log = logging.getLogger(__name__)

Act = Callable[[Command], Awaitable[dict[str, Any] | None]]


class CommandRunner:
    """Claims open commands whose target this gateway holds, and writes what came of them.

    ``holds`` says whether a request is here, ``act`` does the command and
    returns its result. Wake-ups carry no data: every wake reads all open
    commands, and one that this gateway does not hold is left to the others.
    """

    def __init__(self, gateway_id: str, holds: Callable[[str], bool], act: Act) -> None:
        self._gateway_id = gateway_id
        self._holds = holds
        self._act = act
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There may be commands."""
        self._woken.set()

    async def run(self) -> None:
        """Serve commands until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self._serve_all()
            except django.db.Error as trouble:
                log.warning("commands cannot be read: %r", trouble)

    async def _serve_all(self) -> None:
        for command in await asyncio.to_thread(closing, _open_commands):
            if not self._holds(command.target):
                continue
            pk = command.pk
            claimed = await asyncio.to_thread(closing, services.claim_command, pk, self._gateway_id)
            if claimed is None:
                continue
            result = await self._result(claimed)
            await asyncio.to_thread(closing, services.finish_command, pk, self._gateway_id, result)

    async def _result(self, command: Command) -> dict[str, Any]:
        try:
            return await self._act(command) or {"done": False}
        except Exception:  # one command's fault must not end the serving of all that follow
            log.exception("%s failed", command)
            return {"done": False, "error": "this is our fault; the gateway's log says more"}


def _open_commands() -> list[Command]:
    return list(selectors.open_commands())
