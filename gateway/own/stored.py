"""A tenant's ended request, as its usage record tells it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from gateway.going import Held
from gateway.headers import MAX_CLIENT_ID_CHARS
from gateway.models import UsageRecord
from gateway.records import COLUMNS, Record

LOOK_BACK = timedelta(days=1)  # records are found by their time; an older one is in no hurry


def stored(tenant: str, name: str) -> Held | None:
    """The tenant's record of that id: ours, or the client's own; of several the last. For a thread."""
    begin = f"{name[:MAX_CLIENT_ID_CHARS]}~"
    rows = UsageRecord.objects.filter(tenant=tenant, ended_at__gte=timezone.now() - LOOK_BACK)
    rows = rows.filter(Q(request_id=name) | Q(request_id__startswith=begin))
    row = rows.order_by("-ended_at").values(*COLUMNS).first()
    if row is None:
        return None
    record = Record(**{column: _plain(row[column]) for column in COLUMNS})
    clients_id, mark, _ = record.request_id.partition("~")
    return Held(record, clients_id if mark else record.request_id)


def _plain(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value
