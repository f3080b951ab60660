"""An engine for sound: transcriptions as vLLM or as OpenAI itself answers them, read by the standard library.

async with voice_engine() as engine:
    engine.url, engine.heard
    engine.ways = "openai"  # streams end without [DONE]
"""

from __future__ import annotations

import email
import email.policy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.fakes.gateway import serving

WORDS = ("The", " stale", " smell", " of", " old", " beer", " lingers.")
SPOKEN = "".join(WORDS)
SECONDS = 3.2
TOKENS = {"type": "tokens", "input_tokens": 31, "output_tokens": 7, "total_tokens": 38}
DURATION = {"type": "duration", "seconds": SECONDS}
DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class Heard:
    """A form as it came."""

    path: str
    headers: dict[bytes, bytes]
    body: bytes
    fields: list[tuple[str, bytes]]
    files: dict[str, tuple[str, bytes]]  # name to file name and content

    @property
    def said(self) -> dict[str, str]:
        return {name: value.decode() for name, value in self.fields}


def heard(path: str, headers: dict[bytes, bytes], body: bytes) -> Heard:
    """Take a form apart by the rules of mail."""
    head = b"content-type: " + headers[b"content-type"] + b"\r\n\r\n"
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    fields, files = [], {}
    for part in message.iter_parts():
        assert part.get_content_disposition() == "form-data"
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if (filename := part.get_filename()) is None:
            fields.append((name, content))
        else:
            files[name] = (filename, content)
    return Heard(path, headers, body, fields, files)


@dataclass(slots=True)
class VoiceEngine:
    """What it heard, and whose ways it has."""

    url: str = ""
    ways: str = "vllm"  # or openai
    heard: list[Heard] = field(default_factory=list)
    busy: int = 0  # how many requests it refuses

    async def __call__(self, scope, receive, send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        form = heard(scope["path"], dict(scope["headers"]), body)
        self.heard.append(form)
        if self.busy:
            self.busy -= 1
            await self._whole(send, 503, b'{"error":{"message":"full"}}')
        elif form.said.get("stream") == "true":
            await self._stream(send, self._events(form))
        elif form.said.get("response_format") == "text":
            await self._whole(send, 200, SPOKEN.encode() + b"\n", b"text/plain; charset=utf-8")
        else:
            usage = TOKENS if self.ways == "openai" else DURATION
            await self._whole(send, 200, json.dumps({"text": SPOKEN, "usage": usage}).encode())

    def _events(self, form: Heard) -> list[bytes]:
        if self.ways == "openai":
            found = [{"type": "transcript.text.delta", "delta": word} for word in WORDS]
            return [_event(each) for each in (*found, {"type": "transcript.text.done", "text": SPOKEN})]
        whole = {"id": "trsc-1", "object": "transcription.chunk", "created": 1, "model": "w"}
        texts = [{**whole, "choices": [{"delta": {"content": word}}]} for word in WORDS]
        texts[-1]["choices"][0]["finish_reason"] = "stop"
        return [*map(_event, texts), DONE]

    async def _whole(self, send, status: int, body: bytes, kind: bytes = b"application/json") -> None:
        length = b"%d" % len(body)
        headers = [(b"content-type", kind), (b"content-length", length)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, send, events: list[bytes]) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for event in events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _event(said: dict) -> bytes:
    return b"data: " + json.dumps(said, separators=(",", ":")).encode() + b"\n\n"


@asynccontextmanager
async def voice_engine(**options) -> AsyncIterator[VoiceEngine]:
    """The engine on a free port of this event loop."""
    engine = VoiceEngine(**options)
    async with serving(engine) as (_, engine.url):
        yield engine
