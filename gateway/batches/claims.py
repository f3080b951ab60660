"""Which worker runs which batch: a claim with an end, kept by its holder, taken over when it lapses.

There is one question, "which batch is due?", asked by every worker that has
a free hand. A batch whose worker died is due again when the claim lapses,
so nobody has to notice the death.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any, TypeVar

from django.db import connection, transaction
from django.db.models import Case, F, IntegerField, Max, OuterRef, Q, QuerySet, Subquery, Value, When
from django.utils import timezone

from gateway.batches.models import Batch

CLAIMING = 0x62617463  # an advisory lock of our own: who counts the claims of a host is alone
CLAIMED = ("claim", "claimed_by", "claimed_until", "served_at", "not_before", "waits_for")
RENEWALS = 3  # within the life of a claim

Row = TypeVar("Row")


class ClaimLost(Exception):
    """Another worker took the batch over, or it is gone. What this one knows of it is worth nothing."""


class Claim:
    """The right to run one batch, as long as it is renewed within ``for_s``."""

    def __init__(self, batch: Batch, for_s: float) -> None:
        self.batch = batch
        self._for_s = for_s
        self._word = batch.claim

    @contextmanager
    def writing(self) -> Iterator[Batch]:
        """The batch's newest row, locked for the block's transaction. Raises ClaimLost."""
        with transaction.atomic():
            batch = self._mine().select_for_update(of=("self",)).select_related("tenant", "api_token").first()
            if batch is None:
                raise ClaimLost
            self.batch = batch
            yield batch

    def renew(self, **added: int) -> Batch:
        """Keep the claim, and add to counters; the batch as it is now. Raises ClaimLost."""
        sums = {name: F(name) + number for name, number in added.items() if number}
        until = timezone.now() + timedelta(seconds=self._for_s)
        if not self._mine().update(claimed_until=until, **sums):
            raise ClaimLost
        self.batch.refresh_from_db()
        return self.batch

    def keeping(self, rows: Iterable[Row]) -> Iterator[Row]:
        """These, with the claim renewed as time goes. Raises ClaimLost."""
        renewed_s = time.monotonic()
        for row in rows:
            if time.monotonic() - renewed_s > self._for_s / RENEWALS:
                self.renew()
                renewed_s = time.monotonic()
            yield row

    def release(self, **changes: Any) -> None:
        """Give the batch back, with these last changes of the row."""
        self._mine().update(claim="", claimed_by="", claimed_until=None, **changes)

    def _mine(self) -> QuerySet[Batch]:
        return Batch.objects.filter(pk=self.batch.pk, claim=self._word)


def claim(host: str, at_once: int, for_s: float) -> Claim | None:
    """The batch that is due next, unless this host runs as many as it may; None when there is none.

    Tenants take turns: the one that was served longest ago is next, and of
    its batches the oldest, but first those that need no engine: files to be
    checked, and batches to be ended. An older batch may take hours.
    """
    now = timezone.now()
    with transaction.atomic():
        _alone()
        if Batch.objects.filter(claimed_by=host, claimed_until__gt=now).count() >= at_once:
            return None
        batch = _due(now).select_for_update(skip_locked=True, of=("self",)).first()
        if batch is None:
            return None
        batch.claim, batch.claimed_by = token_hex(16), host
        batch.claimed_until, batch.served_at = now + timedelta(seconds=for_s), now
        batch.not_before, batch.waits_for = None, ""
        batch.save(update_fields=CLAIMED)
    return Claim(batch, for_s)


def is_behind(batch: Batch) -> bool:
    """Whether an older batch of its tenant is to ask its lines first."""
    elders = Batch.objects.filter(tenant_id=batch.tenant_id, id__lt=batch.pk)
    return elders.filter(status=Batch.Status.IN_PROGRESS).exists()


def _due(now: datetime) -> QuerySet[Batch]:
    asks = Case(
        When(status=Batch.Status.IN_PROGRESS, then=Value(1)), default=Value(0), output_field=IntegerField()
    )
    others = Batch.objects.filter(tenant=OuterRef("tenant")).order_by().values("tenant")
    return (
        Batch.objects.filter(status__in=Batch.OPEN)
        .filter(Q(claimed_until=None) | Q(claimed_until__lt=now))
        .filter(Q(not_before=None) | Q(not_before__lte=now) | Q(expires_at__lte=now))
        .select_related("tenant", "api_token")
        .annotate(tenant_served_at=Subquery(others.annotate(last=Max("served_at")).values("last")))
        .order_by(F("tenant_served_at").asc(nulls_first=True), asks, "id")
    )


def _alone() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CLAIMING])
