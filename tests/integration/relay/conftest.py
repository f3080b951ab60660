"""A caller of one backend, through a relay that is closed after the test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.relay import Relay
from tests.fakes.relay_client import QUICK, Client


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    relay = Relay(QUICK)
    yield Client(relay)
    await relay.close()
