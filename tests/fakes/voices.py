"""What an engine says in each API that stock clients speak: written from the APIs' public documentation.

A voice has ``whole`` (a JSON answer), and for streams ``opening``, one
``piece`` a word, ``closing`` and ``fault``; each is a list of events, ready
to be sent. With ``tool`` the answer is a call of ``get_weather``.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

WORDS = ("one ", "two ", "three ", "four")
TEXT = "".join(WORDS)
TOOL = "get_weather"
ARGUMENTS = ('{"city": ', '"Paris"}')
PROMPT_TOKENS = 7
FAULT = "the engine ran out of memory"
MODEL = "demo"
USAGE = {
    "prompt_tokens": PROMPT_TOKENS,
    "completion_tokens": len(WORDS),
    "total_tokens": PROMPT_TOKENS + len(WORDS),
}
IO_USAGE = {"input_tokens": PROMPT_TOKENS, "output_tokens": len(WORDS)}


def data(value: Any) -> bytes:
    """One event without a name."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def named(value: dict[str, Any]) -> bytes:
    """One event whose name is its type."""
    return b"event: " + value["type"].encode() + b"\n" + data(value)


class Chat:
    """POST /v1/chat/completions."""

    head: ClassVar = {"id": "chatcmpl-1", "created": 1, "model": MODEL}
    call: ClassVar = {"id": "call_1", "type": "function"}

    def whole(self, *, tool: bool) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": None if tool else TEXT}
        if tool:
            function = {"name": TOOL, "arguments": "".join(ARGUMENTS)}
            message["tool_calls"] = [{**self.call, "function": function}]
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if tool else "stop"}
        return {**self.head, "object": "chat.completion", "choices": [choice], "usage": USAGE}

    def opening(self, *, tool: bool) -> list[bytes]:
        delta: dict[str, Any] = {"role": "assistant", "content": None if tool else ""}
        if tool:
            delta["tool_calls"] = [{"index": 0, **self.call, "function": {"name": TOOL, "arguments": ""}}]
        return [self._chunk(delta)]

    def piece(self, text: str, *, tool: bool) -> list[bytes]:
        called = {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
        return [self._chunk(called if tool else {"content": text})]

    def closing(self, *, tool: bool) -> list[bytes]:
        usage = data({**self.head, "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
        return [self._chunk({}, "tool_calls" if tool else "stop"), usage, b"data: [DONE]\n\n"]

    def fault(self) -> list[bytes]:
        return [
            data({"error": {"message": FAULT, "type": "InternalServerError", "param": None, "code": 500}})
        ]

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return data({**self.head, "object": "chat.completion.chunk", "choices": [choice]})


class Messages:
    """POST /v1/messages, Anthropic's API."""

    head: ClassVar = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL}

    def whole(self, *, tool: bool) -> dict[str, Any]:
        block = self._block(tool=tool)
        block |= {"input": json.loads("".join(ARGUMENTS))} if tool else {"text": TEXT}
        return {**self.head, "content": [block], **self._end(tool=tool), "usage": IO_USAGE}

    def opening(self, *, tool: bool) -> list[bytes]:
        usage = {**IO_USAGE, "output_tokens": 1}
        message = {**self.head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        block = {"type": "content_block_start", "index": 0, "content_block": self._block(tool=tool)}
        return [named({"type": "message_start", "message": message}), named(block)]

    def piece(self, text: str, *, tool: bool) -> list[bytes]:
        called = {"type": "input_json_delta", "partial_json": text}
        delta = called if tool else {"type": "text_delta", "text": text}
        return [named({"type": "content_block_delta", "index": 0, "delta": delta})]

    def closing(self, *, tool: bool) -> list[bytes]:
        end = {"type": "message_delta", "delta": self._end(tool=tool), "usage": IO_USAGE}
        return [
            named({"type": "content_block_stop", "index": 0}),
            named(end),
            named({"type": "message_stop"}),
        ]

    def fault(self) -> list[bytes]:
        return [named({"type": "error", "error": {"type": "api_error", "message": FAULT}})]

    def _block(self, *, tool: bool) -> dict[str, Any]:
        called = {"type": "tool_use", "id": "toolu_1", "name": TOOL, "input": {}}
        return called if tool else {"type": "text", "text": ""}

    def _end(self, *, tool: bool) -> dict[str, Any]:
        return {"stop_reason": "tool_use" if tool else "end_turn", "stop_sequence": None}


class Responses:
    """POST /v1/responses, text only."""

    item: ClassVar = {"type": "message", "id": "msg_1", "role": "assistant"}
    place: ClassVar = {"item_id": "msg_1", "output_index": 0, "content_index": 0}

    def whole(self, *, tool: bool) -> dict[str, Any]:
        assert not tool, "this voice calls no tools"
        return self._response("completed", [self._said(TEXT)])

    def opening(self, *, tool: bool) -> list[bytes]:
        assert not tool, "this voice calls no tools"
        begun = {**self.item, "status": "in_progress", "content": []}
        return [
            named({"type": "response.created", "response": self._response("in_progress", [])}),
            named({"type": "response.output_item.added", "output_index": 0, "item": begun}),
            named({"type": "response.content_part.added", **self.place, "part": self._part("")}),
        ]

    def piece(self, text: str, *, tool: bool) -> list[bytes]:
        assert not tool, "this voice calls no tools"
        return [named({"type": "response.output_text.delta", **self.place, "delta": text})]

    def closing(self, *, tool: bool) -> list[bytes]:
        done = self.whole(tool=tool)
        return [
            named({"type": "response.output_text.done", **self.place, "text": TEXT}),
            named({"type": "response.content_part.done", **self.place, "part": self._part(TEXT)}),
            named({"type": "response.output_item.done", "output_index": 0, "item": self._said(TEXT)}),
            named({"type": "response.completed", "response": done}),
        ]

    def fault(self) -> list[bytes]:
        return [named({"type": "error", "code": "server_error", "message": FAULT, "param": None})]

    def _said(self, text: str) -> dict[str, Any]:
        return {**self.item, "status": "completed", "content": [self._part(text)]}

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": []}

    def _response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        head = {"id": "resp_1", "object": "response", "created_at": 1, "model": MODEL}
        ways = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None}
        usage = {
            **IO_USAGE,
            "total_tokens": PROMPT_TOKENS + len(WORDS),
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        }
        return {**head, **ways, "status": status, "output": output, "usage": usage if output else None}


Voice = Chat | Messages | Responses
VOICES: dict[str, Voice] = {
    "/v1/chat/completions": Chat(),
    "/v1/messages": Messages(),
    "/v1/responses": Responses(),
}
