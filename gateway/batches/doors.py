"""The paths /v1/files and /v1/batches, for the tenant that calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec

from gateway.batches import files, selectors, services, shapes
from gateway.batches.errors import FileNotFound, ListOrNew, ReadOrDelete
from gateway.batches.lines import BATCH_ENDPOINTS
from gateway.batches.models import WINDOW, Batch, StoredFile
from gateway.batches.services import Wanted
from gateway.batches.threads import in_thread
from gateway.batches.upload import keep_s, receive
from gateway.body import read_body
from gateway.errors import Invalid, InvalidJson, NotFound
from gateway.unreadable import UNREADABLE
from gateway.visit import READ, Visit, limit_of

CONTENT = b"application/jsonl"
FILES_PAGE, FILES_MOST = 10_000, 10_000  # as OpenAI has it
BATCHES_PAGE, BATCHES_MOST = 20, 100
METADATA_PAIRS, METADATA_KEY_CHARS, METADATA_VALUE_CHARS = 16, 64, 512
ORDERS = ("asc", "desc")

Row = TypeVar("Row", StoredFile, Batch)


class _Keep(msgspec.Struct):
    seconds: int


class _NewBatch(msgspec.Struct):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None
    output_expires_after: _Keep | None = None


async def answer_files(visit: Visit) -> None:
    """Everything under /v1/files."""
    file_id, _, below = visit.rest.partition("/")
    if not file_id and not below:
        await _files(visit)
    elif not below:
        await _file(visit, file_id)
    elif below == "content":
        visit.read_only()
        await _content(visit, file_id)
    else:
        raise NotFound


async def answer_batches(visit: Visit) -> None:
    """Everything under /v1/batches."""
    batch_id, _, below = visit.rest.partition("/")
    if not batch_id and not below:
        await _batches(visit)
    elif not below:
        visit.read_only()
        await _say(visit, shapes.batch(await in_thread(services.find, visit.caller.tenant, batch_id)))
    elif below == "cancel":
        visit.post_only()
        await _say(visit, shapes.batch(await in_thread(services.cancel_own, visit.caller.tenant, batch_id)))
    else:
        raise NotFound


async def _files(visit: Visit) -> None:
    tenant, settings = visit.caller.tenant, visit.gateway.settings
    if visit.method == "POST":
        await _say(visit, shapes.file(await receive(tenant, visit.headers, visit.client, settings)))
        return
    if visit.method not in READ:
        raise ListOrNew
    query = _query(visit)
    order = query.get("order", "desc")
    if order not in ORDERS:
        raise Invalid(f"order must be asc or desc, not {order[:20]!r}.", param="order")
    wanted = partial(
        selectors.own_files,
        tenant,
        query.get("purpose", ""),
        query.get("after", ""),
        limit_of(query, FILES_PAGE, FILES_MOST),
        oldest_first=order == "asc",
    )
    await visit.say(await in_thread(_page, wanted, shapes.file))


async def _file(visit: Visit, file_id: str) -> None:
    tenant = visit.caller.tenant
    if visit.method == "DELETE":
        await in_thread(files.delete, tenant, file_id)
        await _say(visit, shapes.deleted(file_id))
    elif visit.method in READ:
        await _say(visit, shapes.file(await in_thread(files.find, tenant, file_id)))
    else:
        raise ReadOrDelete


async def _content(visit: Visit, file_id: str) -> None:
    """The file, chunk by chunk at the pace at which the client reads."""
    client, file = visit.client, await in_thread(files.find, visit.caller.tenant, file_id)
    first = await in_thread(files.chunk, file, 0)
    if len(first) < min(file.bytes, files.CHUNK_BYTES):
        raise FileNotFound  # it was deleted meanwhile
    await client.begin(200, [(b"content-type", CONTENT), (b"content-length", b"%d" % file.bytes)])
    await client.write(first)
    for number in range(1, _chunks(file)):
        data = await in_thread(files.chunk, file, number)
        if not data:  # it was deleted meanwhile
            await client.break_off()
            return
        await client.write(data)
    await client.finish()


async def _batches(visit: Visit) -> None:
    tenant = visit.caller.tenant
    if visit.method == "POST":
        wanted = _wanted(visit, await read_body(visit.headers, visit.client, visit.gateway.settings))
        batch = await in_thread(services.create_batch, wanted, visit.gateway.settings.open_batches)
        await _say(visit, shapes.batch(batch))
        return
    if visit.method not in READ:
        raise ListOrNew
    query = _query(visit)
    limit = limit_of(query, BATCHES_PAGE, BATCHES_MOST)
    asked = partial(selectors.own_batches, tenant, query.get("after", ""), limit)
    await visit.say(await in_thread(_page, asked, shapes.batch))


def _page(wanted: Callable[[], tuple[list[Row], bool]], shape: Callable[[Row], shapes.Shape]) -> bytes:
    """A list as JSON, made in the thread that read it: ten thousand rows would hold the event loop."""
    rows, more = wanted()
    return shapes.page([shape(row) for row in rows], more=more)


def _wanted(visit: Visit, body: bytes) -> Wanted:
    """The batch that is asked for. Raises Invalid by field."""
    try:
        new = msgspec.json.decode(body, type=_NewBatch)
    except msgspec.ValidationError as error:
        raise Invalid(f"The batch is not valid: {error}.", param=_field(str(error))) from None
    except UNREADABLE:
        raise InvalidJson from None
    if new.endpoint not in BATCH_ENDPOINTS:
        known = ", ".join(sorted(BATCH_ENDPOINTS))
        raise Invalid(f"endpoint must be one of {known}.", param="endpoint")
    if new.completion_window != WINDOW:
        raise Invalid(f'completion_window must be "{WINDOW}".', param="completion_window")
    _check_metadata(new.metadata or {})
    settings = visit.gateway.settings
    kept_s = (
        keep_s(new.output_expires_after.seconds, settings, "output_expires_after")
        if new.output_expires_after
        else settings.file_keep_s
    )
    caller = visit.caller
    return Wanted(caller.tenant, caller.token_id, new.input_file_id, new.endpoint, new.metadata, int(kept_s))


def _check_metadata(metadata: dict[str, str]) -> None:
    if len(metadata) > METADATA_PAIRS:
        raise Invalid(f"metadata may have at most {METADATA_PAIRS} pairs.", param="metadata")
    for key, value in metadata.items():
        if len(key) > METADATA_KEY_CHARS or len(value) > METADATA_VALUE_CHARS:
            most = f"{METADATA_KEY_CHARS} characters, a value {METADATA_VALUE_CHARS}"
            raise Invalid(f"A key of metadata may have {most}.", param="metadata")
        if "\0" in key + value:
            raise Invalid("metadata may not hold the character U+0000.", param="metadata")


def _field(message: str) -> str | None:
    """The member that msgspec's message is about, as in "... - at `$.endpoint`"."""
    for sign in ("`$.", "field `"):
        _, found, rest = message.partition(sign)
        if found:
            return rest.partition("`")[0].partition(".")[0].partition("[")[0]
    return None


def _query(visit: Visit) -> dict[str, str]:
    query = {name: values[-1] for name, values in parse_qs(visit.query.decode("latin-1")).items()}
    if any("\0" in value for value in query.values()):  # no text of Postgres may hold one
        raise Invalid("The query may not hold the character U+0000.")
    return query


def _chunks(file: StoredFile) -> int:
    return -(-file.bytes // files.CHUNK_BYTES)


async def _say(visit: Visit, shape: dict[str, Any]) -> None:
    await visit.say(msgspec.json.encode(shape))
