"""Commands of admins at the gateway that holds their target."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from gateway import commands
from gateway.commands import CommandRunner
from scheduling import services
from scheduling.models import Command

PATIENCE_S = 5.0


@pytest.fixture
def board(monkeypatch):
    """Commands that are open, and by their keys what came of those that are done."""
    waiting = [Command(pk=pk, kind="hold", target=f"r{pk}") for pk in (1, 2)]
    done = {}
    monkeypatch.setattr(commands, "_open_commands", lambda: [each for each in waiting if each.pk not in done])
    monkeypatch.setattr(services, "claim_command", lambda pk, _: next(e for e in waiting if e.pk == pk))
    monkeypatch.setattr(services, "finish_command", lambda pk, _, result: done.update({pk: result}))
    return done


async def test_a_command_that_stumbles_over_our_own_code_takes_no_other_with_it(board):
    async def act(command: Command) -> dict[str, bool]:
        if command.pk == 1:
            raise ZeroDivisionError
        return {"done": True}

    runner = CommandRunner("gw-1", lambda _: True, act)
    running = asyncio.create_task(runner.run())
    runner.wake()
    async with asyncio.timeout(PATIENCE_S):
        while len(board) < 2 and not running.done():
            await asyncio.sleep(0)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running

    assert board[2] == {"done": True}
    assert board[1]["done"] is False
