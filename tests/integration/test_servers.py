"""The tests' own servers are real, and Django uses them."""

from __future__ import annotations

import pytest
import redis
import redis.asyncio
from django.db import connection

from config import embedded


@pytest.mark.django_db
def test_django_talks_to_the_embedded_postgres():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('unix_socket_directories'), current_setting('listen_addresses')"
        )
        assert cursor.fetchone() == (str(embedded.socket_dir(embedded.data_dir())), "")


def test_valkey_is_empty_at_first(valkey: redis.Redis):
    assert valkey.dbsize() == 0


async def test_a_coroutine_has_the_same_valkey(valkey: redis.Redis, async_valkey: redis.asyncio.Redis):
    await async_valkey.set("a", "1")
    assert valkey.get("a") == b"1"
