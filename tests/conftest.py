"""Fixtures for everybody."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest
import redis.asyncio
from django.conf import settings
from django.db import connection

from scheduling.engines.scrape import Scraper

# A slow machine is no failure. Where one run decides, it tries the same examples as the last one.
hypothesis.settings.register_profile(
    "fairlane",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
hypothesis.settings.load_profile("fairlane")


@pytest.fixture(autouse=True, scope="module")
def defaults_for_the_next(request: pytest.FixtureRequest) -> Iterator[set[str]]:
    """A module whose tests commit leaves the database as migrations do, not empty. Yields who committed.

    Django has emptied it after each such test. pytest-django runs those tests last, but not where
    several workers take modules, or single tests, in turn.
    """
    committed: set[str] = set()
    yield committed
    if committed:
        with request.getfixturevalue("django_db_blocker").unblock():
            connection.creation.deserialize_db_from_string(connection._test_serialized_contents)
            connection.close()


@pytest.fixture(autouse=True)
def commits(request: pytest.FixtureRequest, defaults_for_the_next: set[str]) -> None:
    """Note that a test of this module commits, once it runs here: another worker may have it."""
    if any(marker.kwargs.get("transaction") for marker in request.node.iter_markers("django_db")):
        defaults_for_the_next.add(request.node.name)


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
