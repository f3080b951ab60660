"""A bare HTTP client for tests: it shows every byte, chunk and broken end that a library would hide."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

FAST = {"time_scale": 10.0}  # a step of the default profile is then about 1.2 ms
LONG = 4000  # tokens: an answer that does not end within a test


@asynccontextmanager
async def connection(engine, tls=None):
    host, port = engine.url.rpartition("//")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls)
    try:
        yield reader, writer
    finally:
        writer.close()


def head(method, path, body=b"", headers=None):
    lines = [f"{method} {path} HTTP/1.1", "Host: sim", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def read_head(reader):
    text = (await reader.readuntil(b"\r\n\r\n")).decode()
    status, *lines = text.rstrip().split("\r\n")
    return int(status.split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}


async def call(engine, method, path, body=b"", headers=None, tls=None):
    """One request of a known length: status, headers, body."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    async with connection(engine, tls) as (reader, writer):
        writer.write(head(method, path, body, headers))
        status, got = await read_head(reader)
        return status, got, await reader.readexactly(int(got["content-length"]))


def chat(tokens=5, *, stream=True, **more):
    messages = [{"role": "user", "content": "hello there"}]
    return {"model": "sim", "messages": messages, "max_tokens": tokens, "stream": stream, **more}


def chat_bytes(*args, headers=None, **more):
    return head("POST", "/v1/chat/completions", json.dumps(chat(*args, **more)).encode(), headers)


async def read_chunks(reader):
    """The chunks of a stream until its proper end."""
    chunks = []
    while size := int(await reader.readline(), 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return chunks


async def stream(engine, *args, headers=None, **more):
    async with connection(engine) as (reader, writer):
        writer.write(chat_bytes(*args, headers=headers, **more))
        status, _ = await read_head(reader)
        assert status == 200
        return await read_chunks(reader)


async def rest_of(reader):
    """How a connection ended, whatever still came."""
    try:
        while await asyncio.wait_for(reader.read(65536), 5):
            pass
    except ConnectionResetError:
        return "reset"
    return "closed"


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)
