"""Reads a request's body, bounded in size, also when it comes compressed, and in time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gateway.client import Client
from gateway.errors import BodyTooSlow, TooLarge
from gateway.inflate import Inflater
from gateway.settings import Settings


class ClientLeft(Exception):
    """The client left before its request was whole. There is nobody to answer."""


async def read_body(headers: Mapping[bytes, bytes], client: Client, settings: Settings) -> bytes:
    """The whole body, inflated. Raises Encoded, BadlyEncoded, TooLarge, BodyTooSlow or ClientLeft."""
    coding = headers.get(b"content-encoding")
    inflater = Inflater.of(coding) if coding is not None else None
    most = settings.body_bytes
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > most:
        raise too_large(most)
    until_s = asyncio.get_running_loop().time() + settings.body_read_s
    try:
        if inflater is not None:
            return await _read_inflated(inflater, client, most, until_s)
        return await _read(client, most, until_s)
    except TimeoutError:
        raise BodyTooSlow(f"The body did not arrive within {settings.body_read_s:g} s.") from None


async def _read(client: Client, most: int, until_s: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        part, more = await next_part(client, until_s)
        size += len(part)
        if size > most:
            raise too_large(most)
        if not more:
            return b"".join([*parts, part]) if parts else part
        parts.append(part)


async def _read_inflated(inflater: Inflater, client: Client, most: int, until_s: float) -> bytes:
    """The sum of what comes and of what it becomes are both bounded: a bomb is refused half inflated."""
    parts: list[bytes] = []
    came = size = 0
    more = True
    while more:
        packed, more = await next_part(client, until_s)
        came += len(packed)
        for part in inflater.feed(packed):
            parts.append(part)
            size += len(part)
            if size > most:
                break
            await asyncio.sleep(0)  # inflating is work: the others' turn
        if max(came, size) > most:
            raise too_large(most)
    inflater.close()
    return b"".join(parts)


async def next_part(client: Client, until_s: float) -> tuple[bytes, bool]:
    """What comes next, and whether more follows. Raises ClientLeft, or TimeoutError."""
    message = await client.read(until_s)
    if message["type"] == "http.disconnect":
        raise ClientLeft
    return message.get("body", b""), message.get("more_body", False)


def too_large(most: int) -> TooLarge:
    """The error for a body of more bytes."""
    return TooLarge(f"The body may have at most {most} bytes, inflated if it is compressed.")
