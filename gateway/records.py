"""One usage record per accepted request, and how records get into Postgres."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, get_args, overload

import msgspec
import psycopg
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, connection, transaction
from msgspec.structs import FieldInfo

from gateway import access_lines
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
    queued_at: float | None = None  # None: at its acceptance
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
    trace_id: str = ""


class Batch(Sequence[Record]):
    """Ended requests as the journal has written them down, taken apart only for who looks at one.

    ``lines`` end as lines do. Looking raises msgspec.DecodeError when one of them is torn.
    """

    def __init__(self, lines: Sequence[bytes]) -> None:
        self.lines = lines

    @cached_property
    def _records(self) -> list[Record]:
        return [decode(line) for line in self.lines]

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Record]: ...
    def __getitem__(self, at: int | slice) -> Record | Sequence[Record]:
        return Batch(self.lines[at]) if isinstance(at, slice) else self._records[at]


class Stored(NamedTuple):
    """What was new: when API tokens were last used by it, and its access lines, if wanted."""

    last_use_s: Mapping[int, float]
    lines: str


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
    if field.name == "queued_at":
        name = f"coalesce({name}, line.accepted_at)"
    if field.name in TIMES:
        return f"to_timestamp({name})"
    if isinstance(field.default, str | bool | int):
        return f"coalesce({name}, {field.default!r})"
    return name


_FIELDS = msgspec.structs.fields(Record)
_NAMES = ", ".join(COLUMNS)
# One way to the database and back; the notice that it exists already is not worth another.
_ARRIVING = """
SET LOCAL client_min_messages = warning;
CREATE TEMPORARY TABLE IF NOT EXISTS usage_arriving (line jsonb) ON COMMIT DELETE ROWS
"""
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
"""  # noqa: S608 - constants
_LAST_USE = """(
    SELECT json_object_agg(id, at)::text FROM (
        SELECT api_token_id AS id, extract(epoch FROM max(ended_at)) AS at
        FROM fresh WHERE api_token_id IS NOT NULL GROUP BY 1
    ) AS used
)"""
_STORE = f"{_INTO} SELECT {_LAST_USE}, NULL"
_STORE_AND_TELL = f"{_INTO} SELECT {_LAST_USE}, ({access_lines.of('fresh')})"

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Record).decode
_last_use = msgspec.json.Decoder(dict[int, float]).decode


def store(records: Sequence[Record]) -> None:
    """Write finished records, each key once however often it is given.

    Called in a thread. Raises Away or Unstorable; then nothing of the batch is stored.
    """
    try:
        keep(records)
    finally:
        connection.close()


def keep(records: Sequence[Record], worker: str | None = None) -> Stored:
    """The same on a connection that stays open, unless it fails. With ``worker``, its access lines too."""
    try:
        return insert(records, worker)
    except (DataError, IntegrityError, psycopg.DataError, psycopg.IntegrityError) as error:
        connection.close()
        raise Unstorable(str(error)) from error
    except (DatabaseError, InterfaceError, psycopg.Error) as error:
        connection.close()
        raise Away(str(error)) from error


def insert(records: Sequence[Record], worker: str | None = None) -> Stored:
    """The same in the caller's transaction, if it has one, with the database's own errors."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_ARRIVING)
        with cursor.copy(_COPY) as copy:
            copy.write(_text(records).replace(b"\\", b"\\\\"))
        if worker is None:
            cursor.execute(_STORE)
        else:
            cursor.execute(_STORE_AND_TELL, [worker])
        last_use, lines = cursor.fetchone()
    return Stored(_last_use(last_use) if last_use else {}, lines or "")


def _text(records: Sequence[Record]) -> bytes:
    if isinstance(records, Batch):
        return b"".join(records.lines)
    return b"".join(encode(record) + b"\n" for record in records)
