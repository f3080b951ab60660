"""An engine's reply on its way to the client."""

from __future__ import annotations

from gateway.client import Client
from gateway.engine_errors import EngineFailed, EngineRefused, engine_failed
from gateway.head_lines import Lines, headers_of, stream_lines, type_line
from gateway.relay import Reply
from gateway.reply_head import PLAIN_JSON
from gateway.verdict import NOT_SERVED
from scheduling.core.outcome import Outcome

JSON_LINE = type_line(PLAIN_JSON)
WHOLE_BYTES = 1024 * 1024  # an answer up to this size is sent only when it is there to its end
ERROR_BYTES = 64 * 1024  # of an engine's error are read
# The client's own mistakes. Other 4xx are between the engine and this gateway, e.g. a wrong API key.
CLIENT_FAULTS = frozenset({400, 404, 409, 413, 415, 422, NOT_SERVED})


async def pass_on(reply: Reply, client: Client, lines: Lines, *, stream: bool) -> None:
    """Send the reply to its end.

    Raises EngineRefused when the engine says that the request is wrong, and
    BackendFailure when it fails. A short answer that is not streamed is held
    until it is whole, so that such a failure is still a real HTTP error.
    """
    if reply.status >= 400:
        raise await _refusal(reply)
    if reply.streamed:
        await _stream(reply, client, lines)
    elif stream and client.began:
        raise engine_failed(Outcome.UPSTREAM_GARBAGE)  # JSON cannot follow comments
    else:
        await _whole(reply, client, lines)


async def _stream(reply: Reply, client: Client, lines: Lines) -> None:
    lines = stream_lines(reply.head.content_type) + lines
    async for data in reply:
        if not client.answered:
            # Only now: an engine that dies before its first byte is a real HTTP error, or another is asked.
            await client.start(reply.status, lines, data, last=reply.whole)
        elif reply.whole:
            await client.end(data)
        else:
            await client.write(data)
        if client.ended:
            return
        await reply.pour(client)
    await client.begin(reply.status, headers_of(lines))
    await client.finish()


async def _whole(reply: Reply, client: Client, lines: Lines) -> None:
    headers = headers_of(type_line(reply.head.content_type) + lines)
    held: list[bytes] = []
    size = 0
    async for data in reply:
        if client.began:
            await client.write(data)
            continue
        held.append(data)
        size += len(data)
        if size > WHOLE_BYTES:
            await client.begin(reply.status, headers)
            await client.write(b"".join(held))
    if client.began:
        await client.finish()
    else:
        await client.whole(reply.status, headers, held[0] if len(held) == 1 else b"".join(held))


async def _refusal(reply: Reply) -> EngineFailed:
    if reply.status not in CLIENT_FAULTS:
        return engine_failed(Outcome.UPSTREAM_4XX)
    body = b""
    async for data in reply:
        body += data
        if len(body) > ERROR_BYTES:
            break
    return EngineRefused(reply.status, body)
