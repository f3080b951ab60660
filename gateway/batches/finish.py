"""The end of a batch: its results become files, and its status what it came to. All in one transaction."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils import timezone

from gateway.batches import files, lines
from gateway.batches.asking import name_of, unasked
from gateway.batches.claims import Claim
from gateway.batches.files import FileWriter
from gateway.batches.models import Batch, BatchResult, StoredFile

ROWS = 200  # read at a time
PURPOSE = StoredFile.Purpose.BATCH_OUTPUT
Status = Batch.Status
NEVER_RAN = {
    Status.EXPIRED: ("batch_expired", "The request was not run before the completion window ended."),
    Status.CANCELLED: ("batch_cancelled", "The batch was cancelled before the request was run."),
    Status.FAILED: ("batch_failed", "The batch failed before the request was run: see its errors."),
}


def finish(claim: Claim) -> None:
    """Write the files and end the batch, or nothing of it. Raises ClaimLost."""
    with claim.writing() as batch:
        if batch.status == Status.IN_PROGRESS:
            batch.status = Status.FINALIZING
        batch.finalizing_at = batch.finalizing_at or timezone.now()
        batch.save(update_fields=["status", "finalizing_at"])
    with claim.writing() as batch:
        end = end_of(batch)
        batch.output_file_id = _written(batch, "output", _results(batch, ok=True))
        batch.error_file_id = _written(batch, "error", _failures(batch, end))
        batch.results.all().delete()
        batch.status, batch.ended_at = end, timezone.now()
        batch.claim, batch.claimed_by, batch.claimed_until, batch.waits_for = "", "", None, ""
        batch.save()


def end_of(batch: Batch) -> Status:
    """What a batch comes to whose lines are all done, or never will be."""
    if batch.errors:
        return Status.FAILED
    if batch.cancelling_at is not None:
        return Status.CANCELLED
    return Status.COMPLETED if batch.done >= batch.total else Status.EXPIRED


def _written(batch: Batch, kind: str, texts: Iterator[bytes]) -> str:
    """The id of a file with these lines; empty when there is none."""
    writer: FileWriter | None = None
    for text in texts:
        if writer is None:
            name = f"{batch.public_id}_{kind}.jsonl"
            writer = files.create(batch.tenant.slug, PURPOSE, name, batch.output_keep_s)
        writer.add(text)
    return writer.close().public_id if writer else ""


def _results(batch: Batch, *, ok: bool) -> Iterator[bytes]:
    rows = BatchResult.objects.filter(batch=batch, ok=ok).order_by("line").values_list("text", flat=True)
    return (bytes(text) for text in rows.iterator(ROWS))


def _failures(batch: Batch, end: Status) -> Iterator[bytes]:
    yield from _results(batch, ok=False)
    file = StoredFile.objects.filter(public_id=batch.input_file_id).first()
    if end not in NEVER_RAN or file is None or not batch.total:
        return
    code, message = NEVER_RAN[end]
    for line in unasked(batch, file):
        yield lines.unanswered(name_of(batch, line.number), line.custom_id, code, message)
