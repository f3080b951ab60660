"""What an access line says, as PostgreSQL puts it together: JSON, without a step of Python for a record.

It costs the gateway nothing there: Python of the thread that stores records
would hold up every stream, and the server has taken the records apart already.
"""

from __future__ import annotations


def _ms(since: str, until: str) -> str:
    """A span in whole milliseconds, null if never reached."""
    return f"round(extract(epoch FROM {until} - {since}) * 1000)::bigint"


# By member, in the order of the line. docs/accounting.md tells what each is.
_MEMBERS = {
    "ts": "replace(to_char(ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), '.000000', '')"
    " || 'Z'",
    "level": "'info'",
    "event": "'access'",
    "worker": "%s::text",
    "request_id": "request_id",
    "client_request_id": "client_request_id",
    "trace_id": "trace_id",
    "tenant": "tenant",
    "token_id": "api_token_id",
    "user": "user_hash",
    "endpoint": "endpoint",
    "stream": "stream",
    "model": "model",
    "pool": "pool",
    "backend": "backend",
    "class": "priority_class",
    "outcome": "outcome",
    "status": "status",
    "attempt": "attempt",
    "queue_ms": _ms("queued_at", "dispatched_at"),
    "ttft_ms": _ms("accepted_at", "first_token_at"),
    "total_ms": _ms("accepted_at", "ended_at"),
    "prompt_tokens": "prompt_tokens",
    "cached_tokens": "cached_tokens",
    "completion_tokens": "completion_tokens",
    "estimated": "estimated",
    "cost": "cost",
    "spend": "spend",
    "policy_version": "policy_revision",
}


def of(table: str) -> str:
    """SQL: the lines of a table of records, each with its end, by the end of the requests.

    The name of the worker is its parameter.
    """
    members = ", ".join(f'{value} AS "{name}"' for name, value in _MEMBERS.items())
    return (
        "SELECT string_agg(row_to_json(told)::text || E'\\n', '')"  # noqa: S608 - constants
        f" FROM (SELECT {members} FROM {table} ORDER BY ended_at) AS told"
    )
