"""Reads a request's body, bounded in size and in time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from gateway.client import Client
from gateway.errors import BodyTooSlow, Encoded, TooLarge
from gateway.settings import Settings


class ClientLeft(Exception):
    """The client left before its request was whole. There is nobody to answer."""


async def read_body(headers: Mapping[bytes, bytes], client: Client, settings: Settings) -> bytes:
    """The whole body. Raises Encoded, TooLarge, BodyTooSlow or ClientLeft."""
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise Encoded
    most = settings.body_bytes
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > most:
        raise _too_large(most)
    if (body := client.at_hand()) is not None:
        if len(body) > most:
            raise _too_large(most)
        return body  # nearly always it came with its headers
    try:
        return await _read(client, most, asyncio.get_running_loop().time() + settings.body_read_s)
    except TimeoutError:
        raise BodyTooSlow(f"The body did not arrive within {settings.body_read_s:g} s.") from None


async def _read(client: Client, most: int, until_s: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await client.read(until_s)
        if message["type"] == "http.disconnect":
            raise ClientLeft
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise _too_large(most)
        if not message.get("more_body"):
            return b"".join([*parts, part]) if parts else part
        parts.append(part)


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"The body may have at most {most} bytes.")
