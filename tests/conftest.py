"""Fixtures for everybody."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest
import redis.asyncio
from django.conf import settings

from scheduling.engines.scrape import Scraper

# A slow machine is no failure. Where one run decides, it tries the same examples as the last one.
hypothesis.settings.register_profile(
    "fairlane",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
hypothesis.settings.load_profile("fairlane")


@pytest.fixture
def valkey() -> Iterator[redis.Redis]:
    """A client of the tests' Valkey, which is empty at the beginning of the test."""
    client = redis.Redis.from_url(settings.REDIS_URL)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
async def async_valkey(valkey: redis.Redis) -> AsyncIterator[redis.asyncio.Redis]:
    """The same for a coroutine."""
    client = redis.asyncio.Redis.from_url(settings.REDIS_URL)
    yield client
    await client.aclose()


@pytest.fixture
def scraper() -> Iterator[Scraper]:
    """A reader of engines; its connections are closed after the test."""
    scraper = Scraper()
    yield scraper
    scraper.close()
