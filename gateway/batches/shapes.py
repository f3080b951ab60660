"""Files and batches as OpenAI's API writes them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from gateway.batches.models import WINDOW, Batch, StoredFile

Shape = dict[str, Any]
ENDS = {
    Batch.Status.COMPLETED: "completed_at",
    Batch.Status.FAILED: "failed_at",
    Batch.Status.EXPIRED: "expired_at",
    Batch.Status.CANCELLED: "cancelled_at",
}


def file(row: StoredFile) -> Shape:
    """A file object."""
    return {
        "id": row.public_id,
        "object": "file",
        "bytes": row.bytes,
        "created_at": _unix(row.created_at),
        "expires_at": _unix(row.expires_at),
        "filename": row.filename,
        "purpose": row.purpose,
        "status": "processed",
        "status_details": None,
    }


def deleted(file_id: str) -> Shape:
    """What is said of a file that is gone."""
    return {"id": file_id, "object": "file", "deleted": True}


def batch(row: Batch) -> Shape:
    """A batch object."""
    ends: Shape = dict.fromkeys(ENDS.values())
    if name := ENDS.get(Batch.Status(row.status)):
        ends[name] = _unix(row.ended_at)
    return {
        "id": row.public_id,
        "object": "batch",
        "endpoint": row.endpoint,
        "model": row.model or None,
        "errors": {"object": "list", "data": row.errors} if row.errors else None,
        "input_file_id": row.input_file_id,
        "completion_window": WINDOW,
        "status": row.status,
        "output_file_id": row.output_file_id or None,
        "error_file_id": row.error_file_id or None,
        "created_at": _unix(row.created_at),
        "in_progress_at": _unix(row.in_progress_at),
        "expires_at": _unix(row.expires_at),
        "finalizing_at": _unix(row.finalizing_at),
        "cancelling_at": _unix(row.cancelling_at),
        **ends,
        "request_counts": {"total": row.total, "completed": row.completed, "failed": row.failed},
        "usage": _usage(row),
        "metadata": row.metadata,
    }


def page(items: Sequence[Shape], *, more: bool) -> bytes:
    """A list object with one page."""
    return msgspec.json.encode(
        {
            "object": "list",
            "data": items,
            "first_id": items[0]["id"] if items else None,
            "last_id": items[-1]["id"] if items else None,
            "has_more": more,
        }
    )


def _usage(row: Batch) -> Shape:
    return {
        "input_tokens": row.prompt_tokens,
        "input_tokens_details": {"cached_tokens": row.cached_tokens},
        "output_tokens": row.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": row.reasoning_tokens},
        "total_tokens": row.prompt_tokens + row.completion_tokens,
    }


def _unix(moment: datetime | None) -> int | None:
    return int(moment.timestamp()) if moment else None
