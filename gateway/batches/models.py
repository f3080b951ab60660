"""Files that tenants upload, the batches they start with them, and what came of each line."""

from __future__ import annotations

from datetime import datetime, timedelta
from secrets import token_hex

from django.db import models
from django.db.models import Q
from django.utils import timezone

ID_BYTES = 12  # random: an id tells nothing and is never guessed
WINDOW = "24h"  # the only completion window there is
WINDOW_TIME = timedelta(hours=24)
MODEL_CHARS = 200


def new_file_id() -> str:
    """What a new file is called."""
    return f"file-{token_hex(ID_BYTES)}"


def new_batch_id() -> str:
    """What a new batch is called."""
    return f"batch_{token_hex(ID_BYTES)}"


def window_end() -> datetime:
    """When a batch that is made now expires."""
    return timezone.now() + WINDOW_TIME


class StoredFile(models.Model):
    """A tenant's file. ``ready`` is false while it is still being written: nobody sees it until then."""

    class Purpose(models.TextChoices):
        BATCH = "batch"
        BATCH_OUTPUT = "batch_output"

    public_id = models.CharField(max_length=40, unique=True, default=new_file_id)
    tenant = models.ForeignKey("scheduling.Tenant", on_delete=models.CASCADE, related_name="files")
    purpose = models.CharField(max_length=20, choices=Purpose.choices)
    filename = models.CharField(max_length=255)
    bytes = models.BigIntegerField(default=0)
    ready = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="files_of_a_tenant"),
            models.Index(fields=["expires_at"], name="files_by_end"),
        ]

    def __str__(self) -> str:
        return self.public_id


class FileChunk(models.Model):
    """A part of a file. All but the last have files.CHUNK_BYTES, so that an offset says which."""

    file = models.ForeignKey(StoredFile, on_delete=models.CASCADE, related_name="chunks")
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["file", "number"], name="chunk_once_per_file")]

    def __str__(self) -> str:
        return f"{self.file_id}/{self.number}"


class Batch(models.Model):
    """Many requests of one API token, one a line of its input file.

    Its run is in slices, each by one worker that claimed it: ``claim`` is
    the worker's own word, good until ``claimed_until``. ``done_lines`` and
    ``done_bytes`` say how far the file is answered without a gap.
    """

    class Status(models.TextChoices):
        VALIDATING = "validating"
        FAILED = "failed"
        IN_PROGRESS = "in_progress"
        FINALIZING = "finalizing"
        COMPLETED = "completed"
        EXPIRED = "expired"
        CANCELLING = "cancelling"
        CANCELLED = "cancelled"

    OPEN = (Status.VALIDATING, Status.IN_PROGRESS, Status.FINALIZING, Status.CANCELLING)

    public_id = models.CharField(max_length=40, unique=True, default=new_batch_id)
    tenant = models.ForeignKey("scheduling.Tenant", on_delete=models.CASCADE, related_name="batches")
    api_token = models.ForeignKey("gateway.ApiToken", on_delete=models.CASCADE, related_name="+")
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.VALIDATING)
    endpoint = models.CharField(max_length=50)
    model = models.CharField(max_length=MODEL_CHARS, blank=True, default="", help_text="Empty: several.")
    metadata = models.JSONField(null=True)
    input_file_id = models.CharField(max_length=40)
    output_file_id = models.CharField(max_length=40, blank=True, default="")
    error_file_id = models.CharField(max_length=40, blank=True, default="")
    output_keep_s = models.PositiveIntegerField(help_text="How long its output files are kept.")
    errors = models.JSONField(default=list)
    total = models.PositiveIntegerField(default=0)
    completed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    prompt_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    waits_for = models.CharField(max_length=100, blank=True, default="", help_text="Why it is not going on.")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(default=window_end)
    in_progress_at = models.DateTimeField(null=True)
    finalizing_at = models.DateTimeField(null=True)
    cancelling_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    done_lines = models.PositiveIntegerField(default=0)
    done_bytes = models.BigIntegerField(default=0)
    claim = models.CharField(max_length=32, blank=True, default="")
    claimed_by = models.CharField(max_length=255, blank=True, default="", help_text="The worker's host.")
    claimed_until = models.DateTimeField(null=True)
    served_at = models.DateTimeField(null=True, help_text="When its last slice began.")
    not_before = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = "batch"
        verbose_name_plural = "batches"
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    status__in=(
                        "validating",
                        "failed",
                        "in_progress",
                        "finalizing",
                        "completed",
                        "expired",
                        "cancelling",
                        "cancelled",
                    )
                ),
                name="batch_status_is_known",
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="batches_of_a_tenant"),
            models.Index(
                fields=["id"],
                name="batches_that_are_open",
                condition=Q(status__in=("validating", "in_progress", "finalizing", "cancelling")),
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def is_open(self) -> bool:
        """Whether there is still something to do."""
        return self.status in self.OPEN

    @property
    def done(self) -> int:
        """Lines that have their answer."""
        return self.completed + self.failed


class BatchResult(models.Model):
    """What came of one line, as the output or error file will have it; gone once they are written."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="results")
    line = models.PositiveIntegerField(help_text="Of the input file, from 1.")
    ok = models.BooleanField()
    text = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["batch", "line"], name="result_once_per_line")]

    def __str__(self) -> str:
        return f"{self.batch_id}/{self.line}"
