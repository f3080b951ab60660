"""The only way to make, cancel and forget batches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from gateway.batches import files
from gateway.batches.errors import BatchEnded, BatchNotFound, TooManyBatches
from gateway.batches.models import Batch
from scheduling.models import Tenant
from scheduling.services import Conflict, Missing, Stamp, record, writing

CANCELLABLE = (Batch.Status.VALIDATING, Batch.Status.IN_PROGRESS)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A batch that is asked for, found right as far as it says so itself."""

    tenant: str
    api_token_id: int
    input_file_id: str
    endpoint: str
    metadata: dict[str, str] | None
    output_keep_s: int


def create_batch(wanted: Wanted, most_open: int) -> Batch:
    """Make a batch; a jobs worker takes it up within seconds. Raises FileNotFound or TooManyBatches."""
    with transaction.atomic():
        file = files.find(wanted.tenant, wanted.input_file_id, "input_file_id")
        # Who counts a tenant's batches is alone.
        Tenant.objects.select_for_update(no_key=True).get(pk=file.tenant_id)
        if Batch.objects.filter(tenant=file.tenant_id, status__in=Batch.OPEN).count() >= most_open:
            raise TooManyBatches(f"The tenant may have {most_open} batches that have not ended.")
        return Batch.objects.create(
            tenant=file.tenant,
            api_token_id=wanted.api_token_id,
            input_file_id=file.public_id,
            endpoint=wanted.endpoint,
            metadata=wanted.metadata,
            output_keep_s=wanted.output_keep_s,
        )


def find(tenant: str, public_id: str) -> Batch:
    """A tenant's batch. Raises BatchNotFound."""
    rows = Batch.objects.filter(tenant__slug=tenant)
    batch = rows.filter(public_id=public_id).first() if public_id.isprintable() else None
    if batch is None:
        raise BatchNotFound(f"There is no batch {public_id!r}. GET /v1/batches lists them.", param="id")
    return batch


def cancel_own(tenant: str, public_id: str) -> Batch:
    """Cancel a batch of one's own. Raises BatchNotFound or BatchEnded."""
    find(tenant, public_id)
    batch, was = _cancel(public_id)
    if was not in (*CANCELLABLE, Batch.Status.CANCELLING):
        raise BatchEnded(f"The batch is {was}, so it cannot be cancelled.")
    return batch


def cancel_batch(public_id: str, *, by: str, why: str = "") -> Batch:
    """Cancel any tenant's batch, as an admin. Raises Missing or Conflict."""
    with writing():
        if not Batch.objects.filter(public_id=public_id).exists():
            raise Missing(f"There is no batch {public_id!r}.")
        batch, was = _cancel(public_id)
        if was not in CANCELLABLE:
            raise Conflict(f"Batch {public_id} is {was}, so it cannot be cancelled.")
        record(
            "batch", public_id, Stamp(by, why, "cancel"), before={"tenant": str(batch.tenant), "status": was}
        )
    return batch


def forget_old(now: datetime, keep: timedelta) -> tuple[int, int]:
    """Delete files whose time is over, and batches that ended so long ago; how many of each."""
    gone = files.forget_old(now)
    rows = Batch.objects.exclude(status__in=Batch.OPEN).filter(ended_at__lte=now - keep)
    return gone, len([row.delete() for row in rows])


def _cancel(public_id: str) -> tuple[Batch, str]:
    """The batch, and its status before. Nothing more of it is sent; the worker ends it."""
    rows = Batch.objects.select_related("tenant")
    batch = rows.get(public_id=public_id)
    if batch.status not in CANCELLABLE:
        return batch, batch.status  # whoever writes its files holds the row for as long as that takes
    with transaction.atomic():
        batch = rows.select_for_update(of=("self",)).get(public_id=public_id)
        was = batch.status
        if was in CANCELLABLE:
            batch.status, batch.cancelling_at = Batch.Status.CANCELLING, timezone.now()
            batch.not_before = None
            batch.save(update_fields=["status", "cancelling_at", "not_before"])
    return batch, was
