"""Batches of all tenants."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from django.http import HttpRequest
from ninja import Query, Router, Schema

from gateway.api.access import by
from gateway.api.inputs import Why
from gateway.api.paging import Page, PageQuery, page
from gateway.api.problems import answers
from gateway.batches import selectors, services
from gateway.batches.models import Batch
from scheduling.selectors import found

router = Router(tags=["batches"])

Status = Literal[
    "", "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]


class BatchQuery(PageQuery):
    """Which batches."""

    tenant: str = ""
    status: Status = ""


class FaultOut(Schema):
    """What is wrong with a line of a batch that failed, or with all of it."""

    line: int | None
    code: str
    message: str
    param: str | None


class BatchOut(Schema):
    """A batch and how far it is."""

    id: str
    tenant: str
    api_token: int
    status: str
    endpoint: str
    model: str
    total: int
    completed: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    waits_for: str
    errors: list[FaultOut]
    metadata: dict[str, str] | None
    input_file_id: str
    output_file_id: str
    error_file_id: str
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None

    @staticmethod
    def resolve_id(row: Batch) -> str:
        """What the tenant calls it."""
        return row.public_id

    @staticmethod
    def resolve_tenant(row: Batch) -> str:
        """Its tenant's slug."""
        return row.tenant.slug

    @staticmethod
    def resolve_api_token(row: Batch) -> int:
        """The id of the API token that made it."""
        return row.api_token_id


@router.get("", response=answers(Page[BatchOut]))
def list_batches(request: HttpRequest, query: Query[BatchQuery]) -> object:
    """Batches, newest first."""
    rows = selectors.batches(query.tenant)
    return page(rows.filter(status=query.status) if query.status else rows, query, "-id")


@router.get("/{batch_id}", response=answers(BatchOut))
def read_batch(request: HttpRequest, batch_id: str) -> object:
    """One batch."""
    return found(selectors.batches(), public_id=batch_id)


@router.post("/{batch_id}/cancel", response=answers(BatchOut))
def cancel_batch(request: HttpRequest, batch_id: str, body: Why) -> object:
    """Send no more of its requests. What is done is kept."""
    services.cancel_batch(batch_id, by=by(request), why=body.why)
    return found(selectors.batches(), public_id=batch_id)
