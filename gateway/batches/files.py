"""Files in Postgres, chunk by chunk: written and read in bounded memory, from every host."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from gateway.batches.errors import FileInUse, FileNotFound, StorageFull
from gateway.batches.models import Batch, FileChunk, StoredFile
from gateway.errors import Forbidden
from scheduling.models import Tenant

CHUNK_BYTES = 256 * 1024
UPLOAD_TIME = timedelta(hours=1)  # what is not whole by then was given up
FILENAME_CHARS = 255


class LineTooLong(Exception):
    """A line of the file is longer than a request's body may be."""


class FileWriter:
    """Writes one file. ``add`` its bytes, then ``close``; until then nobody sees it.

    With ``most_bytes`` the tenant's files together may not be larger.
    """

    def __init__(self, file: StoredFile, most_bytes: int | None = None) -> None:
        self.file = file
        self._most_bytes = most_bytes
        self._rest = bytearray()
        self._number = 0

    def add(self, data: bytes) -> None:
        """Append bytes. Raises StorageFull."""
        self._rest += data
        if len(self._rest) < CHUNK_BYTES:
            return
        with transaction.atomic():
            while len(self._rest) >= CHUNK_BYTES:
                self._put(bytes(self._rest[:CHUNK_BYTES]))
                del self._rest[:CHUNK_BYTES]
        self._check_room()

    def close(self) -> StoredFile:
        """The file is whole. Raises StorageFull."""
        if self._rest:
            self._put(bytes(self._rest))
            self._rest.clear()
        self._check_room()
        self.file.ready = True
        self.file.save(update_fields=["purpose", "filename", "expires_at", "ready"])
        return self.file

    def discard(self) -> None:
        """It will not be: forget what is written."""
        self.file.delete()

    def _put(self, data: bytes) -> None:
        FileChunk.objects.create(file=self.file, number=self._number, data=data)
        self._number += 1
        self.file.bytes += len(data)
        self.file.save(update_fields=["bytes"])

    def _check_room(self) -> None:
        if self._most_bytes is not None and stored_bytes(self.file.tenant_id) > self._most_bytes:
            raise StorageFull(
                f"The tenant's files may take at most {self._most_bytes} bytes. Delete some first."
            )


def create(
    tenant: str, purpose: str, filename: str, keep_s: float, most_bytes: int | None = None
) -> FileWriter:
    """Begin a file. Raises StorageFull."""
    owner = Tenant.objects.filter(slug=tenant).first()
    if owner is None:
        raise Forbidden("The tenant of this API token is not known here.")
    if most_bytes is not None and stored_bytes(owner.pk) >= most_bytes:
        raise StorageFull
    now = timezone.now()
    times = {"created_at": now, "expires_at": now + timedelta(seconds=keep_s)}
    file = StoredFile.objects.create(
        tenant=owner, purpose=purpose, filename=filename[:FILENAME_CHARS], **times
    )
    return FileWriter(file, most_bytes)


def stored_bytes(tenant_id: int) -> int:
    """What the tenant's files take, with those that are being written."""
    rows = StoredFile.objects.filter(tenant_id=tenant_id)
    return int(rows.aggregate(sum=Sum("bytes", default=0))["sum"])


def find(tenant: str, public_id: str, named_by: str = "id") -> StoredFile:
    """A tenant's file. Raises FileNotFound, which blames the parameter ``named_by``."""
    rows = StoredFile.objects.filter(tenant__slug=tenant, ready=True)
    file = rows.filter(public_id=public_id).first() if public_id.isprintable() else None
    if file is None or file.expires_at <= timezone.now():
        raise FileNotFound(f"There is no file {public_id!r}. GET /v1/files lists them.", param=named_by)
    return file


def delete(tenant: str, public_id: str) -> None:
    """Remove a file for good. Raises FileNotFound or FileInUse."""
    file = find(tenant, public_id)
    if Batch.objects.filter(tenant=file.tenant_id, input_file_id=public_id, status__in=Batch.OPEN).exists():
        raise FileInUse
    file.delete()


def chunk(file: StoredFile, number: int) -> bytes:
    """One chunk; empty past the end."""
    data = FileChunk.objects.filter(file=file, number=number).values_list("data", flat=True).first()
    return bytes(data) if data is not None else b""


def read_lines(file: StoredFile, most_bytes: int, at: int = 0) -> Iterator[tuple[bytes, int]]:
    """The lines from an offset on, each with the offset behind it. Raises LineTooLong.

    The offset must be one that was given here, or 0.
    """
    number, skip = divmod(at, CHUNK_BYTES)
    rest = b""
    while data := chunk(file, number):
        *lines, rest = (rest + data[skip:]).split(b"\n")
        for line in lines:
            at += len(line) + 1
            yield line, at
        if len(rest) > most_bytes:
            raise LineTooLong
        number, skip = number + 1, 0
    if rest:
        yield rest, at + len(rest)


def forget_old(now: datetime) -> int:
    """Delete files whose time is over, and what was left of broken uploads; how many."""
    needed = Batch.objects.filter(status__in=Batch.OPEN).values("input_file_id")
    over = StoredFile.objects.filter(expires_at__lte=now).exclude(public_id__in=needed)
    broken = StoredFile.objects.filter(ready=False, created_at__lte=now - UPLOAD_TIME)
    return len([file.delete() for rows in (over, broken) for file in rows])
