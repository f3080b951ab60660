"""Lists a page at a time, by the last row seen: rows that come or go move no page."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from ninja import Schema
from pydantic import ConfigDict, Field

MOST_ITEMS = 200

T = TypeVar("T")
Row = TypeVar("Row", bound=Model)


class PageQuery(Schema):
    """Which page."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=MOST_ITEMS)
    cursor: str = Field(
        "", max_length=500, description="next_cursor of the page before. Empty: the first page."
    )


class Page(Schema, Generic[T]):
    """One page. ``next_cursor`` is null on the last one."""

    items: list[T]
    next_cursor: str | None


def page(rows: QuerySet[Row], query: PageQuery, key: str) -> dict[str, Any]:
    """One page of rows ordered by a unique field, like "slug" or "-id", or by a key of several: "-pk".

    Raises ValidationError for a cursor that we did not make.
    """
    field = key.removeprefix("-")
    if query.cursor:
        after = "lt" if key.startswith("-") else "gt"
        rows = rows.filter(**{f"{field}__{after}": _read(query.cursor, rows, field)})
    found = list(rows.order_by(key)[: query.limit + 1])
    items = found[: query.limit]
    more = len(found) > len(items)
    return {"items": items, "next_cursor": _write(getattr(items[-1], field)) if more else None}


def _write(value: Any) -> str:
    text = json.dumps(value, default=datetime.isoformat)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read(cursor: str, rows: QuerySet[Row], field: str) -> Any:
    meta = rows.model._meta  # noqa: SLF001 - Django's public name for it
    try:
        value = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if field != "pk":
            return meta.get_field(field).to_python(value)  # type: ignore[union-attr]
        pairs = zip(meta.pk_fields, value, strict=True)
        return tuple(each.clean(part, None) for each, part in pairs)
    except (ValueError, TypeError, OverflowError, ValidationError):
        raise ValidationError(
            {"cursor": "This is no cursor of ours. Use next_cursor of the page before."}
        ) from None
