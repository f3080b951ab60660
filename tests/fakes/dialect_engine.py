"""An engine that speaks the Messages and the Responses API, and the calls that generate nothing.

async with dialect_engine() as engine:
    engine.url, engine.asked
    engine.faults.append("die")  # for the next request: refuse, unable, busy, error, die, silent

The events follow vLLM's and llama.cpp's, each of which leaves out other optional members. It serves
tokenization at the root, as vLLM does, and answers with a tool call when it is given a tool.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.dialect_answers import (
    PROMPT_TOKENS,
    Event,
    message,
    message_events,
    response,
    response_events,
)
from tests.fakes.gateway import serving

SSE = b"text/event-stream; charset=utf-8"
SPEECH, SOUND = "/v1/audio/speech", b"ID3\x04 sound"
POOLED = {"prompt_tokens": 9, "total_tokens": 9}
NOT_GENERATED = {
    "/v1/messages/count_tokens": {"input_tokens": PROMPT_TOKENS},
    "/tokenize": {"count": 3, "max_model_len": 512, "tokens": [1, 2, 3]},
    "/detokenize": {"prompt": "once upon"},
    "/v1/rerank": {"id": "r", "results": [{"index": 0, "relevance_score": 0.5}], "usage": POOLED},
    "/v1/score": {"data": [{"index": 0, "object": "score", "score": 0.5}], "usage": POOLED},
    "/v1/moderations": {"id": "m", "results": [{"flagged": False}]},
}


@dataclass(slots=True)
class Asked:
    """A request as it came."""

    path: str
    headers: dict[bytes, bytes]
    body: dict[str, Any]


@dataclass(slots=True)
class DialectEngine:
    """What it is asked, and how it is to fail."""

    url: str = ""
    pause_s: float = 0.0  # before each event
    asked: list[Asked] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    async def __call__(self, scope, receive, send) -> None:
        headers, text = dict(scope["headers"]), b""
        while True:
            message = await receive()
            text += message.get("body", b"")
            if not message.get("more_body"):
                break
        asked = Asked(scope["path"], headers, json.loads(text or b"{}"))
        self.asked.append(asked)
        fault = self.faults.pop(0) if self.faults else ""
        listening = asyncio.create_task(self._hear(receive))
        try:
            if fault == "silent":
                await asyncio.wait([listening])
            else:
                await self._answer(asked, fault, Line(send, self.pause_s))
        finally:
            listening.cancel()

    async def _hear(self, receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _answer(self, asked: Asked, fault: str, line: Line) -> None:
        whole, events = answers(asked)
        if asked.path == SPEECH:
            await line.sound()
        elif whole is None:
            await line.say({"detail": "Not Found"}, 404)
        elif fault in REFUSALS:
            status, kind = REFUSALS[fault]
            await line.say(refusal(asked.path, kind), status)
        elif not asked.body.get("stream"):
            await line.say(whole)
        else:
            await line.stream(list(events), fault, asked.path)


REFUSALS = {
    "unable": (501, "not_supported_error"),
    "refuse": (400, "invalid_request_error"),
    "busy": (503, "overloaded_error"),
}


def refusal(path: str, kind: str) -> dict[str, Any]:
    """An error in the words of the path's API."""
    error = {"type": kind, "message": f"The engine says {kind}."}
    if path.startswith("/v1/messages"):
        return {"type": "error", "error": error}
    return {"error": {**error, "param": "temperature", "code": 400}}


@dataclass(slots=True)
class Line:
    """The way back to the client."""

    send: Any
    pause_s: float

    async def say(self, body: dict[str, Any], status: int = 200) -> None:
        await self._begin(status, b"application/json")
        await self.send({"type": "http.response.body", "body": json.dumps(body).encode()})

    async def sound(self) -> None:
        await self._begin(200, b"audio/mpeg")
        await self.send({"type": "http.response.body", "body": SOUND})

    async def stream(self, events: list[Event], fault: str, path: str) -> None:
        await self._begin(200, SSE)
        for number, event in enumerate(events):
            if fault and number == len(events) // 2:
                if fault == "error":
                    await self._put("error", {"type": "error", **refusal(path, "overloaded_error")})
                self.send.__self__.transport.abort()
                return
            await asyncio.sleep(self.pause_s)
            await self._put(*event)
        await self.send({"type": "http.response.body", "body": b""})

    async def _begin(self, status: int, kind: bytes) -> None:
        headers = [(b"content-type", kind)]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def _put(self, name: str, data: dict[str, Any]) -> None:
        text = f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
        await self.send({"type": "http.response.body", "body": text.encode(), "more_body": True})


def answers(asked: Asked) -> tuple[dict[str, Any] | None, Iterator[Event]]:
    """The whole answer, and the same as events."""
    if asked.path == "/v1/messages":
        return message(asked.body), message_events(asked.body)
    if asked.path == "/v1/responses":
        return response(asked.body, "completed", usage=True), response_events(asked.body)
    return NOT_GENERATED.get(asked.path), iter(())


@asynccontextmanager
async def dialect_engine(**options: Any) -> AsyncIterator[DialectEngine]:
    """The engine on a free port of this event loop."""
    engine = DialectEngine(**options)
    async with serving(engine) as (_, engine.url):
        yield engine
