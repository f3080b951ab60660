"""One usage record per accepted request, and how records get into Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import msgspec
import psycopg
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, connection, transaction
from msgspec.structs import FieldInfo

from gateway.totals import KEY, SUMS
from scheduling.core.outcome import Outcome


class Record(msgspec.Struct, omit_defaults=True, gc=False):
    """How one request went, with the columns of ``UsageRecord``. Times are Unix seconds.

    An ``outcome`` of "" says that the request is still running.
    """

    request_id: str
    accepted_at: float
    tenant: str
    model: str
    priority_class: str
    endpoint: str
    stream: bool
    client_request_id: str = ""
    pool: str = ""
    user_hash: str = ""
    api_token_id: int | None = None
    policy_revision: int = 0
    estimated_tokens: int = 0
    queued_at: float | None = None
    dispatched_at: float | None = None
    first_token_at: float | None = None
    ended_at: float | None = None
    backend: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False
    outcome: str = ""
    status: int = 0
    attempt: int = 1
    spend: int = 0
    cost: int = 0


class Away(Exception):
    """Postgres cannot be reached; the records keep."""


class Unstorable(Exception):
    """Postgres refuses a record of this batch, and always will."""


COLUMNS = Record.__struct_fields__
TIMES = frozenset(name for name in COLUMNS if name.endswith("_at"))
_TYPES = {str: "text", bool: "boolean", int: "bigint", float: "double precision"}


def _sql_type(field: FieldInfo) -> str:
    """What a member of the JSON is for PostgreSQL; ``int | None`` is an int that may be missing."""
    return next(_TYPES[each] for each in (field.type, *get_args(field.type)) if each in _TYPES)


def _value(field: FieldInfo) -> str:
    """A member as its column wants it: a default is not written down in the line."""
    name = f"line.{field.name}"
    if field.name in TIMES:
        return f"to_timestamp({name})"
    if isinstance(field.default, str | bool | int):
        return f"coalesce({name}, {field.default!r})"
    return name


_FIELDS = msgspec.structs.fields(Record)
_NAMES = ", ".join(COLUMNS)
_ARRIVING = "CREATE TEMPORARY TABLE IF NOT EXISTS usage_arriving (line jsonb) ON COMMIT DELETE ROWS"
_COPY = "COPY usage_arriving (line) FROM STDIN"
# PostgreSQL takes the lines apart: that is a core which no stream waits for. What a record that is
# new adds to the totals is written down in the same statement, so both always agree.
_INTO = f"""
WITH fresh AS (
    INSERT INTO gateway_usagerecord ({_NAMES})
    SELECT {", ".join(map(_value, _FIELDS))} FROM usage_arriving AS arriving, jsonb_to_record(arriving.line)
        AS line ({", ".join(f"{field.name} {_sql_type(field)}" for field in _FIELDS)})
    ON CONFLICT (accepted_at, request_id) DO NOTHING RETURNING *
), counted AS (
    INSERT INTO gateway_usagearrival ({", ".join(KEY + SUMS)})
    SELECT date_trunc('hour', accepted_at, 'UTC'), tenant, model, coalesce(api_token_id, 0),
        count(*), count(*) FILTER (WHERE outcome = '{Outcome.OK}'),
        sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens),
        sum(CASE WHEN outcome = '{Outcome.WORKER_LOST}' THEN estimated_tokens
            WHEN cost > 0 THEN prompt_tokens + completion_tokens ELSE 0 END),
        sum(cost), sum(spend)
    FROM fresh GROUP BY 1, 2, 3, 4
)
SELECT request_id FROM fresh
"""  # noqa: S608 - constants

_encode = msgspec.json.Encoder().encode


def store(records: Sequence[Record]) -> frozenset[str]:
    """Write finished records, each key once however often it is given; the ids of those that are new.

    Called in a thread. Raises Away or Unstorable; then nothing of the batch is stored.
    """
    try:
        return insert(records)
    except (DataError, IntegrityError, psycopg.DataError, psycopg.IntegrityError) as error:
        raise Unstorable(str(error)) from error
    except (DatabaseError, InterfaceError, psycopg.Error) as error:
        raise Away(str(error)) from error
    finally:
        connection.close()


def insert(records: Sequence[Record]) -> frozenset[str]:
    """The same in the caller's transaction, if it has one, with the database's own errors."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL client_min_messages = warning")
        cursor.execute(_ARRIVING)
        with cursor.copy(_COPY) as copy:
            copy.write(b"".join(_encode(record).replace(b"\\", b"\\\\") + b"\n" for record in records))
        cursor.execute(_INTO)
        return frozenset(request_id for (request_id,) in cursor.fetchall())
