"""A tenant's ended request, as its usage record tells it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway.records import COLUMNS, Record
from gateway.usage import record_of


def stored(tenant: str, name: str) -> Record | None:
    """The tenant's record by our id, or the last of a day that its client calls so. For a thread."""
    row = record_of(name, tenant)
    if row is None:
        return None
    return Record(**{column: _plain(getattr(row, column)) for column in COLUMNS})


def _plain(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value
