"""The Files API, as OpenAI's client and others use it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta

import httpx2 as httpx
import openai
import pytest
from django.utils import timezone

from gateway.batches import files, services
from gateway.batches.files import CHUNK_BYTES
from gateway.batches.models import FileChunk, StoredFile
from scheduling import services as scheduling
from tests.fakes.batches import batch_scene, line
from tests.fakes.plane import read

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

BOUNDARY = "frontier"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name: str, value: str, filename: str = "") -> str:
    named = f'; filename="{filename}"' if filename else ""
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n{value}\r\n'


END = f"--{BOUNDARY}--\r\n"
PURPOSE = part("purpose", "batch")


def raw(scene) -> httpx.AsyncClient:
    """A client of the first tenant's that sends what it is told."""
    word = f"Bearer {next(iter(scene.secrets.values()))}"
    return httpx.AsyncClient(base_url=scene.plane.url, headers={"authorization": word})


def tighten(scene, **settings) -> None:
    gateway = scene.plane.gateway
    gateway.settings = replace(gateway.settings, **settings)


@dataclass
class HalfSent:
    """An upload of which more is announced than was sent."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def close(self) -> None:
        self.writer.close()


async def send_half(scene, body: str) -> HalfSent:
    host, port = scene.plane.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = [
        "POST /v1/files HTTP/1.1",
        "host: localhost",
        f"authorization: Bearer {scene.secrets['chat']}",
        f"content-type: {FORM['content-type']}",
        f"content-length: {2 * len(body)}",
    ]
    writer.write("\r\n".join([*head, "", body]).encode())
    await writer.drain()
    return HalfSent(reader, writer)


async def until_stored(count: int) -> None:
    async with asyncio.timeout(10):
        while await read(StoredFile.objects.count) != count:
            await asyncio.sleep(0.02)


async def test_a_file_is_stored_listed_read_back_and_deleted(valkey):
    content = bytes(range(256)) * (5 * CHUNK_BYTES // 512) + b"end"
    async with batch_scene() as scene:
        api = scene.clients["chat"].files
        keep = {"anchor": "created_at", "seconds": 3600}
        made = await api.create(file=("lines.jsonl", content), purpose="batch")
        other = await api.create(file=("o" * 300, b"x"), purpose="batch", expires_after=keep)
        found = await api.retrieve(made.id)
        listed = [file.id async for file in api.list(limit=1)]
        oldest = [file.id async for file in api.list(order="asc", purpose="batch")]
        none = [file.id async for file in api.list(purpose="batch_output")]
        same = (await api.content(made.id)).content == content
        gone = await api.delete(made.id)
        left = await read(lambda: list(FileChunk.objects.values_list("file__public_id", flat=True)))
        with pytest.raises(openai.NotFoundError) as missing:
            await api.retrieve(made.id)

    assert (made.bytes, made.filename, made.purpose, made.status) == (
        len(content),
        "lines.jsonl",
        "batch",
        "processed",
    )
    assert made.expires_at - made.created_at == 30 * 86400
    assert (other.expires_at - other.created_at, other.filename) == (3600, "o" * 255)
    assert found == made
    assert listed == [other.id, made.id]
    assert oldest == [made.id, other.id]
    assert none == []
    assert same
    assert gone.deleted
    assert left == [other.id]
    assert missing.value.code == "file_not_found"


async def test_another_tenant_sees_neither_the_file_nor_its_content(valkey):
    async with batch_scene() as scene:
        file_id = await scene.upload("chat", line("a"))
        theirs = scene.clients["shop"].files
        for attempt in (theirs.retrieve, theirs.content, theirs.delete):
            with pytest.raises(openai.NotFoundError):
                await attempt(file_id)
        assert [file.id async for file in theirs.list()] == []
        assert (await scene.clients["chat"].files.retrieve(file_id)).id == file_id


BAD_UPLOADS = {
    "no file": (PURPOSE + END, FORM, 400, "invalid_multipart", "file"),
    "no purpose": (part("file", "{}", "a") + END, FORM, 400, "invalid_request", "purpose"),
    "another purpose": (
        part("purpose", "fine-tune") + part("file", "{}", "a") + END,
        FORM,
        400,
        "invalid_request",
        "purpose",
    ),
    "two files": (
        PURPOSE + part("file", "1", "a") + part("file", "2", "b") + END,
        FORM,
        400,
        "invalid_multipart",
        "file",
    ),
    "cut short": (PURPOSE + part("file", "{}", "a"), FORM, 400, "invalid_multipart", None),
    "no form": ("nothing of the kind", FORM, 400, "invalid_multipart", None),
    "json": ("{}", {"content-type": "application/json"}, 400, "invalid_multipart", None),
    "too short a life": (
        PURPOSE + part("expires_after[seconds]", "5") + part("file", "{}", "a") + END,
        FORM,
        400,
        "invalid_request",
        "expires_after",
    ),
    "a field of 2 kB": (part("purpose", "x" * 2000) + END, FORM, 400, "invalid_multipart", None),
    "too large": (PURPOSE + part("file", "x" * 3000, "a") + END, FORM, 413, "request_too_large", "file"),
    "compressed": (PURPOSE + END, {**FORM, "content-encoding": "gzip"}, 415, "unsupported_encoding", None),
}


async def test_a_bad_upload_is_refused_with_its_reason_and_leaves_nothing(valkey):
    async with batch_scene("chat") as scene, raw(scene) as api:
        tighten(scene, file_bytes=2048)
        told = {}
        for name, (body, headers, *_) in BAD_UPLOADS.items():
            answer = await api.post("/v1/files", content=body, headers=headers)
            error = answer.json()["error"]
            told[name] = [answer.status_code, error["code"], error["param"]]
        left = await read(StoredFile.objects.count)

    assert told == {name: list(wanted) for name, (_, _, *wanted) in BAD_UPLOADS.items()}
    assert left == 0


async def test_an_upload_that_breaks_off_or_takes_too_long_leaves_nothing(valkey):
    started = PURPOSE + part("file", "x" * 2 * CHUNK_BYTES, "a")
    async with batch_scene("chat") as scene:
        gone = await send_half(scene, started)
        await until_stored(1)
        tighten(scene, tenant_uploads=1)
        with pytest.raises(openai.RateLimitError) as second:
            await scene.upload("chat", line("a"))
        gone.close()
        await until_stored(0)
        tighten(scene, upload_read_s=0.3)
        late = await send_half(scene, started)
        answer = await late.reader.read()
        late.close()
        left = await read(StoredFile.objects.count)

    assert second.value.code == "too_many_uploads"
    assert b"408 Request Timeout" in answer
    assert b'"code":"body_timeout"' in answer
    assert left == 0


async def test_a_tenants_files_have_only_so_much_room(valkey):
    async with batch_scene() as scene:
        tighten(scene, tenant_files_bytes=2 * CHUNK_BYTES)
        api = scene.clients["chat"].files
        first = await api.create(file=("a.jsonl", b"x" * CHUNK_BYTES), purpose="batch")
        with pytest.raises(openai.APIStatusError) as full:
            await api.create(file=("b.jsonl", b"x" * (2 * CHUNK_BYTES)), purpose="batch")
        await scene.clients["shop"].files.create(file=("c.jsonl", b"x" * CHUNK_BYTES), purpose="batch")
        await api.delete(first.id)
        again = await api.create(file=("b.jsonl", b"x" * (2 * CHUNK_BYTES)), purpose="batch")

    assert (full.value.status_code, full.value.code) == (413, "storage_full")
    assert again.bytes == 2 * CHUNK_BYTES


async def test_an_unknown_path_method_or_query_has_an_answer_of_its_own(valkey):
    async with batch_scene("chat") as scene, raw(scene) as api:
        answers = [
            await api.request(method, path)
            for method, path in (
                ("PUT", "/v1/files"),
                ("POST", "/v1/files/file-1"),
                ("POST", "/v1/files/file-1/content"),
                ("GET", "/v1/files/file-1/nothing"),
                ("GET", "/v1/files/file-%00"),
                ("GET", "/v1/files?limit=0"),
                ("GET", "/v1/files?order=up"),
                ("GET", "/v1/files?after=file-x"),
                ("GET", "/v1/files?purpose=%00"),
            )
        ]

    told = [(answer.status_code, answer.json()["error"]["code"]) for answer in answers]
    assert told == [
        (405, "method_not_allowed"),
        (405, "method_not_allowed"),
        (405, "method_not_allowed"),
        (404, "unknown_url"),
        (404, "file_not_found"),
        (400, "invalid_request"),
        (400, "invalid_request"),
        (404, "file_not_found"),
        (400, "invalid_request"),
    ]
    assert answers[0].headers["allow"] == "GET, HEAD, POST"


def test_files_are_forgotten_when_their_time_is_over_and_broken_uploads_sooner(db):
    scheduling.create_tenant("chat", by="cli")
    now = timezone.now()
    kept, old, broken = (files.create("chat", "batch", name, 7200) for name in ("kept", "old", "broken"))
    for writer in (kept, old):
        writer.add(b"x")
        writer.close()
    StoredFile.objects.filter(filename="old").update(expires_at=now - timedelta(seconds=1))
    StoredFile.objects.filter(filename="broken").update(created_at=now - 2 * files.UPLOAD_TIME)

    assert services.forget_old(now, timedelta(days=30)) == (2, 0)
    assert list(StoredFile.objects.values_list("filename", flat=True)) == ["kept"]
    assert not broken.file.ready


def test_lines_are_read_across_chunks_and_from_any_of_their_ends(db):
    scheduling.create_tenant("chat", by="cli")
    writer = files.create("chat", "batch", "long", 7200)
    wanted = [b"%d" % number * 30_000 for number in range(1, 40)]
    writer.add(b"\n".join(wanted))
    file = writer.close()

    whole = list(files.read_lines(file, 100_000))
    ends = [end for _, end in whole]

    assert [text for text, _ in whole] == wanted
    assert ends[-1] == file.bytes
    for number, end in enumerate(ends, 1):
        assert [text for text, _ in files.read_lines(file, 100_000, end)] == wanted[number:]
    with pytest.raises(files.LineTooLong):
        list(files.read_lines(file, 10_000))


async def test_a_file_that_is_deleted_as_it_is_asked_for_is_not_there(valkey, monkeypatch):
    async with batch_scene("chat") as scene, raw(scene) as client:
        file_id = await scene.upload("chat", line("a"))
        found = files.find

        def find_and_lose(tenant, public_id):
            file = found(tenant, public_id)
            StoredFile.objects.all().delete()
            return file

        monkeypatch.setattr(files, "find", find_and_lose)
        said = await client.get(f"/v1/files/{file_id}/content")

    assert (said.status_code, said.json()["error"]["code"]) == (404, "file_not_found")
