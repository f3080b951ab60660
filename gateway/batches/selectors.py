"""Reads of batches and files."""

from __future__ import annotations

from django.db.models import QuerySet
from django.utils import timezone

from gateway.batches.errors import BatchNotFound, FileNotFound
from gateway.batches.models import Batch, StoredFile


def batches(tenant: str = "") -> QuerySet[Batch]:
    """All batches, or one tenant's, newest first."""
    rows = Batch.objects.select_related("tenant", "api_token")
    return rows.filter(tenant__slug=tenant) if tenant else rows


def own_batches(tenant: str, after: str, limit: int) -> tuple[list[Batch], bool]:
    """A page of a tenant's batches behind one of them, and whether there are more."""
    rows = Batch.objects.filter(tenant__slug=tenant)
    if after:
        last = rows.filter(public_id=after).first()
        if last is None:
            raise BatchNotFound(
                f"after names no batch: {after!r}. Use the last id of the page before.", param="after"
            )
        rows = rows.filter(pk__lt=last.pk)
    found = list(rows[: limit + 1])
    return found[:limit], len(found) > limit


def own_files(
    tenant: str, purpose: str, after: str, limit: int, *, oldest_first: bool
) -> tuple[list[StoredFile], bool]:
    """A page of a tenant's files behind one of them, and whether there are more."""
    rows = StoredFile.objects.filter(tenant__slug=tenant, ready=True, expires_at__gt=timezone.now())
    if purpose:
        rows = rows.filter(purpose=purpose)
    if after:
        last = StoredFile.objects.filter(tenant__slug=tenant, public_id=after).first()
        if last is None:
            raise FileNotFound(
                f"after names no file: {after!r}. Use the last id of the page before.", param="after"
            )
        rows = rows.filter(pk__gt=last.pk) if oldest_first else rows.filter(pk__lt=last.pk)
    found = list(rows.order_by("id" if oldest_first else "-id")[: limit + 1])
    return found[:limit], len(found) > limit
