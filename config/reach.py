"""Whether PostgreSQL and Valkey answer at the configured addresses, with the mend where they do not."""

from __future__ import annotations

from typing import Any

import psycopg
import redis
from django.conf import settings
from django.db import connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.trouble import Trouble

CONNECT_S = 5


def postgres() -> str:
    """The server's version. Raises Trouble. Does not use the pool, whose errors hide their cause."""
    parameters = {**connection.get_connection_params(), "connect_timeout": CONNECT_S}
    parameters.pop("cursor_factory", None)
    parameters.pop("context", None)
    try:
        with psycopg.connect(**parameters) as direct:
            return str(direct.execute("SHOW server_version").fetchone()[0])  # type: ignore[index]
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        raise Trouble(
            f"PostgreSQL does not answer: {said}. "
            "Mend DATABASE_URL or start that server; unset it to use the embedded one."
        ) from None


def valkey() -> str:
    """The server's version. Raises Trouble."""
    try:
        with client(CONNECT_S) as direct:
            told: Any = direct.info("server")
    except redis.RedisError as error:
        raise Trouble(
            f"Valkey does not answer: {error}. "
            "Mend REDIS_URL or start that server; unset it to use the embedded one."
        ) from None
    return str(told.get("valkey_version") or told.get("redis_version"))


def client(timeout_s: float) -> redis.Redis:
    """A client that tries once."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
    )
