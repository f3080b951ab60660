"""A tenant's ended request, as its usage record tells it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Q

from gateway.going import Held
from gateway.models import UsageRecord
from gateway.records import COLUMNS, Record


def stored(tenant: str, name: str) -> Held | None:
    """The tenant's record of that id: ours, or the client's own; of several the last. For a thread."""
    rows = UsageRecord.objects.filter(Q(request_id=name) | Q(client_request_id=name), tenant=tenant)
    row = rows.order_by("-accepted_at").values(*COLUMNS).first()
    if row is None:
        return None
    record = Record(**{column: _plain(row[column]) for column in COLUMNS})
    return Held(record, record.client_request_id or record.request_id)


def _plain(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value
