"""Things to be done once, by the gateway that holds the target."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from scheduling.models import Command
from scheduling.services.edits import COMMAND_CHANNEL, Conflict, clean, notify

LIFE_S = 5.0  # the caller gives up after 2 s; what nobody took by then must not happen later


def send_command(
    kind: str, target: str, arguments: dict[str, Any] | None = None, *, by: str, life_s: float = LIFE_S
) -> Command:
    """Ask the gateways to cancel, move_to_front, hold, release or explain the request ``target``."""
    command = Command(
        kind=kind,
        target=target,
        arguments=arguments or {},
        by=by,
        expires_at=timezone.now() + timedelta(seconds=life_s),
    )
    with transaction.atomic():
        clean(command, but=("arguments",))  # empty arguments are fine, not a forgotten field
        command.save()
        notify(COMMAND_CHANNEL)
    return command


def claim_command(command_id: int, gateway: str) -> Command | None:
    """Take a command, once over all gateways. None: another has it, or it is too late."""
    mine = Command.objects.filter(
        pk=command_id, claimed_by="", done_at=None, expires_at__gt=timezone.now()
    ).update(claimed_by=gateway)
    return Command.objects.get(pk=command_id) if mine else None


def finish_command(command_id: int, gateway: str, result: dict[str, Any]) -> None:
    """Write what came of a claimed command. Raises Conflict when this gateway does not hold it."""
    done = Command.objects.filter(pk=command_id, claimed_by=gateway, done_at=None).update(
        done_at=timezone.now(), result=result
    )
    if not done:
        raise Conflict(f"Command {command_id} is not held by {gateway}, or is done already.")
