"""Commands to the gateways: claimed by one, done once, never too late."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError

from scheduling import models, selectors, services
from tests.integration.services.rules import BY

pytestmark = pytest.mark.django_db


def test_a_command_is_claimed_by_one_gateway_and_done_once(shop) -> None:
    command = services.send_command("cancel", "req-1", by=BY)
    assert [row.id for row in selectors.open_commands()] == [command.id]

    assert services.claim_command(command.id, "gw-1") is not None
    assert services.claim_command(command.id, "gw-2") is None
    with pytest.raises(services.Conflict):
        services.finish_command(command.id, "gw-2", {"cancelled": True})
    assert selectors.command_result(command.id, wait_s=0) is None
    services.finish_command(command.id, "gw-1", {"cancelled": True})

    assert selectors.command_result(command.id, wait_s=0) == {"cancelled": True}
    with pytest.raises(services.Conflict):
        services.finish_command(command.id, "gw-1", {"cancelled": True})


def test_a_command_that_is_too_late_is_never_run(shop) -> None:
    command = services.send_command("explain", "req-1", by=BY)
    long_ago = command.created_at - timedelta(hours=1)
    models.Command.objects.update(created_at=long_ago, expires_at=long_ago + timedelta(seconds=5))

    assert services.claim_command(command.id, "gw-1") is None
    assert not selectors.open_commands().exists()


def test_an_unknown_command_is_refused(shop) -> None:
    with pytest.raises(ValidationError, match="move_to_front"):
        services.send_command("reboot", "req-1", by=BY)
