"""What tests ask a simulated engine, byte by byte."""

from __future__ import annotations

import json

from tests.fakes.http_client import connection, head, read_chunks, read_head

FAST = {"time_scale": 10.0}  # a step of the default profile is then about 1.2 ms
LONG = 4000  # tokens: an answer that does not end within a test


def chat(tokens=5, *, stream=True, **more):
    messages = [{"role": "user", "content": "hello there"}]
    return {"model": "sim", "messages": messages, "max_tokens": tokens, "stream": stream, **more}


def chat_bytes(*args, headers=None, **more):
    return head("POST", "/v1/chat/completions", json.dumps(chat(*args, **more)).encode(), headers)


async def stream(engine, *args, headers=None, **more):
    async with connection(engine) as (reader, writer):
        writer.write(chat_bytes(*args, headers=headers, **more))
        status, _ = await read_head(reader)
        assert status == 200
        return await read_chunks(reader)
