"""Batches as rows, for pages and the control API: one in every state that looks different."""

from __future__ import annotations

from django.utils import timezone

from gateway.batches.models import Batch
from gateway.models import ApiToken
from scheduling.models import Tenant


def make_batch(tenant: str, status: str = "in_progress", **fields) -> Batch:
    """A batch of the tenant's first API token."""
    owner = Tenant.objects.get(slug=tenant)
    token = ApiToken.objects.filter(tenant=owner).first() or ApiToken.objects.create(
        tenant=owner, name="nightly", digest=tenant.encode().ljust(32), prefix="fl_abc", last4="wxyz"
    )
    row = {"endpoint": "/v1/chat/completions", "input_file_id": "file-1", "output_keep_s": 3600, **fields}
    if status not in Batch.OPEN:
        row.setdefault("ended_at", timezone.now())
    return Batch.objects.create(tenant=owner, api_token=token, status=status, **row)
