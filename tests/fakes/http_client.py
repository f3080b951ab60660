"""A bare HTTP client for tests: it shows every byte, chunk and broken end that a library would hide."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager


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


async def read_chunks(reader):
    """The chunks of a stream until its proper end."""
    chunks = []
    while size := int(await reader.readline(), 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return chunks


async def rest_of(reader):
    """How a connection ended, whatever still came."""
    try:
        while await asyncio.wait_for(reader.read(65536), 5):
            pass
    except ConnectionResetError:
        return "reset"
    return "closed"
