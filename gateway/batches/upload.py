"""A file as it comes in: multipart/form-data, written to the database a chunk at a time."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import PurePosixPath

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from gateway.batches import files
from gateway.batches.errors import NotMultipart, TooManyUploads
from gateway.batches.files import CHUNK_BYTES, FILENAME_CHARS, FileWriter
from gateway.batches.models import StoredFile
from gateway.batches.threads import in_thread
from gateway.body import ClientLeft, next_part
from gateway.client import Client
from gateway.errors import BodyTooSlow, Encoded, Invalid, Refused, TooLarge
from gateway.forms import FORM
from gateway.settings import Settings

FORM_BYTES = 64 * 1024  # what may stand around the file
FIELD_BYTES = 1000
MOST_PARTS = 20
PURPOSE = StoredFile.Purpose.BATCH
LEAST_KEEP_S, MOST_KEEP_S = 3600, 30 * 24 * 3600  # as OpenAI has it
UNNAMED = "upload.jsonl"
_running: Counter[str] = Counter()  # uploads by tenant
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(slots=True)
class Form:
    """The parts of the form: the small ones here, the file in the database."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str = ""
    writer: FileWriter | None = None
    pending: bytearray = field(default_factory=bytearray)
    segment: MultipartSegment | None = None
    value: bytearray = field(default_factory=bytearray)

    @property
    def in_file(self) -> bool:
        """Whether the part that is being read is the file."""
        return self.segment is not None and self.segment.name == "file"

    def take(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        """The next piece of the form. Raises NotMultipart."""
        if isinstance(event, MultipartSegment):
            self.segment = event
            self.value.clear()
            if self.in_file:
                if self.filename:
                    raise NotMultipart(
                        "The form has two parts called file; send one file at a time.", param="file"
                    )
                self.filename = _clean(event.filename)
        elif event is None:
            if self.segment is not None and not self.in_file:
                self.fields[self.segment.name or ""] = self.value.decode("utf-8", "replace")
        elif self.in_file:
            self.pending += event
        else:
            self.value += event
            if len(self.value) > FIELD_BYTES:
                raise NotMultipart(f"A field of the form may have at most {FIELD_BYTES} bytes.")


async def receive(
    tenant: str, headers: Mapping[bytes, bytes], client: Client, settings: Settings
) -> StoredFile:
    """Store the file of an upload. Raises Refused, and then nothing of it is kept."""
    form, parser = Form(), _parser(headers, settings)
    with _turn(tenant, settings.tenant_uploads):
        return await _receive(tenant, form, parser, client, settings)


@contextmanager
def _turn(tenant: str, most: int) -> Iterator[None]:
    """One of the uploads that a tenant may have at once in this process. Raises TooManyUploads."""
    if _running[tenant] >= most:
        raise TooManyUploads(f"The tenant may upload {most} files at once.")
    _running[tenant] += 1
    try:
        yield
    finally:
        _running[tenant] -= 1
        if not _running[tenant]:
            del _running[tenant]


async def _receive(
    tenant: str, form: Form, parser: PushMultipartParser, client: Client, settings: Settings
) -> StoredFile:
    try:
        await _read(form, parser, client, _Storage(tenant, settings))
        keep_s = _checked(form, settings)
        writer = form.writer
        if writer is None:
            raise NotMultipart("The form has no part called file.", param="file")
        writer.file.filename = form.filename
        writer.file.expires_at = writer.file.created_at + timedelta(seconds=keep_s)
        await in_thread(writer.add, bytes(form.pending))
        return await in_thread(writer.close)
    except (Refused, ClientLeft):
        if form.writer is not None:
            with suppress(Refused):  # whatever is left of it is swept away later
                await in_thread(form.writer.discard)
        raise


@dataclass(frozen=True, slots=True)
class _Storage:
    """Where the file goes, and the bounds it has."""

    tenant: str
    settings: Settings

    async def put(self, form: Form) -> None:
        """Write what is pending, once it is a chunk or more."""
        if form.writer is None:
            begin = partial(files.create, self.tenant, PURPOSE, UNNAMED, self.settings.file_keep_s)
            form.writer = await in_thread(begin, self.settings.tenant_files_bytes)
        data = bytes(form.pending)
        form.pending.clear()
        await in_thread(form.writer.add, data)


async def _read(form: Form, parser: PushMultipartParser, client: Client, storage: _Storage) -> None:
    settings = storage.settings
    try:
        async for data in _parts(client, settings.upload_read_s):
            for event in parser.parse(data):
                form.take(event)
            if len(form.pending) >= CHUNK_BYTES or (form.filename and form.writer is None):
                await storage.put(form)
        parser.close()
    except TimeoutError:
        raise BodyTooSlow(f"The file did not arrive within {settings.upload_read_s:g} s.") from None
    except MultipartError as error:
        if error.http_status == TooLarge.status:
            raise _too_large(settings) from None
        raise NotMultipart(f"The upload is not valid multipart/form-data: {error}.") from None


async def _parts(client: Client, within_s: float) -> AsyncIterator[bytes]:
    until_s = asyncio.get_running_loop().time() + within_s
    more = True
    while more:
        data, more = await next_part(client, until_s)
        if data:
            yield data


def _parser(headers: Mapping[bytes, bytes], settings: Settings) -> PushMultipartParser:
    """A parser with every bound. Raises NotMultipart, Encoded or TooLarge before anything is read."""
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise Encoded("A file is read as it comes: send it without Content-Encoding.")
    kind, options = parse_options_header(headers.get(b"content-type", b"").decode("latin-1"))
    if kind != FORM or not options.get("boundary"):
        raise NotMultipart("Send the file as multipart/form-data with a boundary, in a part called file.")
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > settings.file_bytes + FORM_BYTES:
        raise _too_large(settings)
    try:
        return PushMultipartParser(
            options["boundary"],
            max_segment_size=settings.file_bytes,
            max_segment_count=MOST_PARTS,
            strict=True,
        )
    except MultipartError as error:
        raise NotMultipart(f"The upload is not valid multipart/form-data: {error}.") from None


def _checked(form: Form, settings: Settings) -> float:
    """How long the file is kept. Raises Invalid for a field that is wrong."""
    purpose = form.fields.get("purpose", "")
    if purpose != PURPOSE:
        raise Invalid(f'purpose must be "{PURPOSE}", not {purpose!r}.', param="purpose")
    wanted = form.fields.get("expires_after[seconds]")
    if wanted is None:
        return settings.file_keep_s
    return keep_s(int(wanted) if wanted.isdecimal() and len(wanted) < 10 else 0, settings)


def keep_s(wanted: int, settings: Settings, named_by: str = "expires_after") -> float:
    """A time to keep a file that a client asks for in ``named_by``, no longer than ours. Raises Invalid."""
    if not LEAST_KEEP_S <= wanted <= MOST_KEEP_S:
        raise Invalid(
            f"{named_by}.seconds must be a whole number from {LEAST_KEEP_S} to {MOST_KEEP_S}.",
            param=named_by,
        )
    return min(wanted, settings.file_keep_s)


def _too_large(settings: Settings) -> TooLarge:
    return TooLarge(f"A file may have at most {settings.file_bytes} bytes.", param="file")


def _clean(filename: str | None) -> str:
    """The last part of the name, without anything that could do harm where it is shown."""
    name = CONTROL.sub("", PurePosixPath((filename or "").replace("\\", "/")).name)
    return name[:FILENAME_CHARS] or UNNAMED
