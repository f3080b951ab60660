"""A caller of one backend, through a relay that is closed after the test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fakes.relay_client import Client, relay_client


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with relay_client() as client:
        yield client
