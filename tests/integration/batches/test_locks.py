"""What a batch's row being held means for those who do something else meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import pytest
from django.db import connection

from gateway.batches import files
from gateway.batches.errors import BatchEnded, TooManyBatches
from gateway.batches.models import Batch
from gateway.batches.services import Wanted, cancel_batch, cancel_own, create_batch
from gateway.threads import closing
from scheduling import services
from scheduling.services import Conflict
from tests.fakes.batch_rows import make_batch
from tests.fakes.batches import CHAT
from tests.fakes.scripted_gateway import batch_of

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@pytest.fixture(autouse=True)
def tenant(db):
    services.create_tenant("chat", by="cli")


@contextmanager
def held(row: Batch) -> Iterator[None]:
    """The row is locked, as long as its files are being written; who waits for it fails soon."""
    other = connection.copy()
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '500ms'")
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT 1 FROM gateway_batch WHERE id = %s FOR UPDATE", [row.pk])
        yield
    finally:
        other.rollback()
        other.close()
        connection.close()


@pytest.mark.parametrize("status", ["finalizing", "cancelling"])
def test_who_cancels_a_batch_that_is_being_ended_is_told_so_at_once(status):
    row = make_batch("chat", status)

    with held(row), pytest.raises(Conflict, match=status):
        cancel_batch(row.public_id, by="ada")


def test_an_owner_who_cancels_a_batch_that_is_being_ended_is_told_so_at_once():
    ending, cancelled = make_batch("chat", "finalizing"), make_batch("chat", "cancelling")

    with held(ending), pytest.raises(BatchEnded, match="finalizing"):
        cancel_own("chat", ending.public_id)
    with held(cancelled):
        assert cancel_own("chat", cancelled.public_id).status == "cancelling"


def test_batches_that_are_made_at_once_are_no_more_than_a_tenant_may_have(monkeypatch):
    row = batch_of("chat", b"{}", status="completed")
    wanted = Wanted("chat", row.api_token_id, row.input_file_id, CHAT, None, 3600)
    together, find = Barrier(4), files.find

    def find_together(*asked):
        file = find(*asked)
        together.wait(5)
        return file

    monkeypatch.setattr(files, "find", find_together)

    def make(_):
        try:
            closing(create_batch, wanted, 1)
        except TooManyBatches:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(make, range(4)))

    assert sum(made) == 1
    assert Batch.objects.filter(status="validating").count() == 1
