"""The answering side of a request that came by WebSocket: JSON frames instead of bytes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from gateway.client import Client, Message
from gateway.dialect import Dialect
from gateway.engine_errors import engine_failed
from gateway.errors import Refused
from gateway.headers import ORIGINAL, Headers, RequestId, retry_after_ms
from gateway.records import Record
from gateway.sse_events import DONE, data_of
from gateway.unreadable import UNREADABLE
from scheduling.core.outcome import Outcome

Send = Callable[[Message], Awaitable[None]]

FIRST_WORD_S = 0.02  # a request that is still in line then is told so; most have a seat by then
EVENT_END = re.compile(rb"\r?\n\r?\n")
HELD_BYTES = 4 * 1024 * 1024  # of an event or a document without an end; a larger one is no answer

_json = msgspec.json.Decoder(msgspec.Raw).decode


class SocketDialect(Dialect):
    """What a waiting stream is told, as frames."""

    working = b'{"type":"working"}'

    def waiting(self, position: int, wait_ms: int | None) -> bytes:
        """The place in line, and about how long it will take."""
        eta_s = None if wait_ms is None else round(wait_ms / 1000, 1)
        return msgspec.json.encode({"type": "queued", "position": position, "eta_s": eta_s})


FRAMES = SocketDialect()


class SocketClient(Client):
    """One request of a WebSocket, which outlives it. Whoever reads from that says when the client leaves."""

    needs_ears = False

    def __init__(self, send: Send, headers: Mapping[bytes, bytes]) -> None:
        self._prepare(headers, asyncio.get_running_loop())
        self.dialect = FRAMES
        self._send_message = send
        self._held = b""  # of an event or a document that is not whole yet
        self._in_events = True
        self._loop.call_later(FIRST_WORD_S, self._say_first_word)

    def listen(self) -> None:
        """Nothing: the connection's reader hears it leave."""

    def push(self, data: bytes) -> bool:
        """Never: a frame may have to wait."""
        return False

    def leave(self) -> None:
        """The client left, or wants no more of this."""
        self._leave()

    async def hung_up(self, timeout_s: float) -> bool:
        """Whoever waits for the end of the connection need not: its reader does."""
        return True

    async def refuse(self, refused: Refused) -> None:
        """Say that there will be no answer, or no more of it."""
        # A cancel that comes by now has nothing to end, and must not take away what is told.
        self.ended = True
        await self._put(error_frame(refused, self.request_id))

    async def conclude(self) -> None:
        """Say what it came to, and that this was all."""
        if self.record is not None:
            await self._put(usage_frame(self.record))
        await self._put(msgspec.json.encode({"type": "done", "request_id": self.request_id.own}))

    def _say_first_word(self) -> None:
        text = self.tell() if self.tell is not None and not self.began else b""
        if text and text != FRAMES.working:
            self.remark(text)

    async def _remark(self, text: bytes) -> None:
        try:
            self.began = True
            await self._put(text)
        finally:
            self._aside = None

    async def _send_head(self, status: int, headers: Headers) -> None:
        kind = dict(headers).get(b"content-type", b"")
        self._in_events = kind.startswith(b"text/event-stream")

    async def _send(self, data: bytes, *, more: bool) -> None:
        self._held += data
        if len(self._held) > HELD_BYTES:
            raise engine_failed(Outcome.UPSTREAM_GARBAGE)
        if self._in_events:
            *events, self._held = EVENT_END.split(self._held)
        else:
            events = []
        if not more and self._held:
            events.append(self._held)
            self._held = b""
        for event in events:
            if found := _data_of(event) if self._in_events else event:
                await self._put(_chunk_frame(found))

    async def _send_whole(self, status: int, headers: Headers, body: bytes) -> None:
        if status < 400:
            await super()._send_whole(status, headers, body)
        else:
            await self._put(_frame_again(status, headers, body, self.request_id))

    async def _put(self, frame: bytes) -> None:
        self.writing_since_s = self._loop.time()
        try:
            await self._send_message({"type": "websocket.send", "text": frame.decode()})
        except OSError:  # the connection is lost; its reader hears of that too, only later
            self._leave()
            await asyncio.sleep(0)
        self.writing_since_s = None
        self.idle_since_s = self._loop.time()

    @property
    def _transport(self) -> Any:
        return getattr(getattr(self._send_message, "__self__", None), "transport", None)


def error_frame(refused: Refused, request_id: RequestId) -> bytes:
    """The error that an HTTP client gets, in a frame."""
    return msgspec.json.encode(
        {
            "type": "error",
            "request_id": request_id.own,
            "status": refused.status,
            "error": _error_in(refused.body()),
            "retry_after_ms": retry_after_ms(refused, request_id),
        }
    )


def _frame_again(status: int, headers: Headers, body: bytes, request_id: RequestId) -> bytes:
    """The refusal that the request of an idempotency key got before, and the id that it had then."""
    return msgspec.json.encode(
        {
            "type": "error",
            "request_id": request_id.own,
            "status": status,
            "error": _error_in(body),
            "retry_after_ms": None,
            "original_request_id": dict(headers)[ORIGINAL].decode(),
        }
    )


def _error_in(body: bytes) -> msgspec.Raw:
    return msgspec.json.decode(body, type=dict[str, msgspec.Raw])["error"]


def usage_frame(record: Record) -> bytes:
    """What a request came to, as its record has it."""
    waited_s = (record.dispatched_at or record.ended_at or record.accepted_at) - record.accepted_at
    prompt, completion = record.prompt_tokens, record.completion_tokens
    return msgspec.json.encode(
        {
            "type": "usage",
            "request_id": record.request_id,
            "model": record.model,
            "class": record.priority_class,
            "outcome": record.outcome,
            "queue_ms": max(0, int(waited_s * 1000)),
            "estimated": record.estimated,
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
                "prompt_tokens_details": {"cached_tokens": record.cached_tokens},
            },
        }
    )


def _data_of(event: bytes) -> bytes:
    """What an SSE event carries; nothing for comments and for the end of a stream, told apart."""
    data = data_of(event).strip()
    return b"" if data == DONE else data


def _chunk_frame(data: bytes) -> bytes:
    """The engine's own JSON in a frame. Raises EngineFailed when it is no JSON, or not text: a frame is."""
    try:
        data.decode()
        return msgspec.json.encode({"type": "chunk", "data": _json(data)})
    except UNREADABLE:
        raise engine_failed(Outcome.UPSTREAM_GARBAGE) from None
