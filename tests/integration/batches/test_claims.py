"""Who runs which batch, and when it is another's turn."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from gateway.batches import claims, files
from gateway.batches.claims import ClaimLost
from gateway.batches.models import Batch, BatchResult, FileChunk
from scheduling import services
from tests.fakes.batch_rows import make_batch

pytestmark = pytest.mark.django_db

FOR_S = 30.0


@pytest.fixture(autouse=True)
def tenants(db):
    for slug in ("chat", "shop"):
        services.create_tenant(slug, by="cli")


def claim(host: str = "a", at_once: int = 99):
    return claims.claim(host, at_once, FOR_S)


def lapse() -> None:
    Batch.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))


def test_tenants_take_turns_however_many_batches_one_has():
    many = [make_batch("chat") for _ in range(3)]
    one = make_batch("shop")

    served = []
    for _ in range(4):
        taken = claim()
        served.append(taken.batch.pk)
        taken.release()

    assert served == [many[0].pk, one.pk, many[0].pk, one.pk]


def test_files_are_checked_and_batches_ended_before_an_older_batch_goes_on():
    old = make_batch("chat")
    new, cancelled = make_batch("chat", "validating"), make_batch("chat", "cancelling")

    served = []
    for _ in range(3):
        taken = claim()
        served.append(taken.batch.pk)
        if taken.batch.pk != old.pk:
            Batch.objects.filter(pk=taken.batch.pk).update(status="cancelled")
        taken.release()

    assert served == [new.pk, cancelled.pk, old.pk]


def test_a_host_runs_so_many_at_once_and_another_host_its_own():
    batches = [make_batch("chat") for _ in range(3)]

    first = claim("a", at_once=1)

    assert claim("a", at_once=1) is None
    assert claim("b", at_once=1).batch.pk == batches[1].pk
    first.release()
    assert claim("a", at_once=1) is not None


def test_a_batch_whose_worker_is_silent_is_taken_over_and_the_silent_one_writes_no_more():
    make_batch("chat", total=5)
    lost = claim()
    assert claim() is None

    lapse()
    taken = claim("b")

    for write in (lambda: lost.renew(completed=1), lambda: lost.writing().__enter__()):
        with pytest.raises(ClaimLost):
            write()
    lost.release(waits_for="nothing of this")
    assert taken.renew(completed=2).completed == 2
    assert taken.batch.waits_for == ""


def test_a_tenant_goes_with_its_files_and_batches():
    writer = files.create("chat", "batch", "a", 7200)
    writer.add(b"x" * files.CHUNK_BYTES)
    row = make_batch("chat", input_file_id=writer.close().public_id)
    BatchResult.objects.create(batch=row, line=1, ok=True, text=b"{}")
    taken = claim()

    services.delete_tenant("chat", by="cli")

    assert not FileChunk.objects.exists()
    with pytest.raises(ClaimLost):
        taken.renew()


def test_a_batch_that_waits_is_not_due_until_then_or_until_it_expires():
    later = timezone.now() + timedelta(minutes=5)
    row = make_batch("chat", not_before=later)
    make_batch("shop", "completed")
    assert claim() is None

    Batch.objects.filter(pk=row.pk).update(expires_at=timezone.now())

    assert claim().batch.pk == row.pk
