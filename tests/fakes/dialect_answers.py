"""One answer in the words of the Messages and of the Responses API: whole, and as events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

WORDS = ("Once", " upon", " a", " time")
PROMPT_TOKENS, CACHED_TOKENS = 12, 8
ARGUMENTS = '{"city": "Wien"}'
Event = tuple[str, dict[str, Any]]


# -- the Messages API


def message(body: dict[str, Any]) -> dict[str, Any]:
    tool = _tool(body)
    block = {"type": "tool_use", "id": "toolu_1", "name": tool, "input": json.loads(ARGUMENTS)}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [block if tool else {"type": "text", "text": "".join(WORDS)}],
        "stop_reason": "tool_use" if tool else "end_turn",
        "stop_sequence": None,
        "usage": {**PROMPT_USAGE, "output_tokens": len(WORDS)},
    }


PROMPT_USAGE = {
    "input_tokens": PROMPT_TOKENS - CACHED_TOKENS,
    "cache_read_input_tokens": CACHED_TOKENS,
    "cache_creation_input_tokens": 0,
}


def message_events(body: dict[str, Any]) -> Iterator[Event]:
    tool = _tool(body)
    start = {
        **message(body),
        "content": [],
        "stop_reason": None,
        "usage": {**PROMPT_USAGE, "output_tokens": 1},
    }
    yield "message_start", {"type": "message_start", "message": start}
    yield "ping", {"type": "ping"}
    empty = (
        {"type": "tool_use", "id": "toolu_1", "name": tool, "input": {}}
        if tool
        else {"type": "text", "text": ""}
    )
    yield "content_block_start", {"type": "content_block_start", "index": 0, "content_block": empty}
    for piece in _pieces(body):
        delta = (
            {"type": "input_json_delta", "partial_json": piece}
            if tool
            else {"type": "text_delta", "text": piece}
        )
        yield "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}
    yield "content_block_stop", {"type": "content_block_stop", "index": 0}
    yield (
        "message_delta",
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use" if tool else "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": len(WORDS)},
        },
    )
    yield "message_stop", {"type": "message_stop"}


# -- the Responses API


def response(body: dict[str, Any], status: str, *, usage: bool) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_750_000_000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "model": body["model"],
        "output": [_item(body)] if usage else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": body.get("tools", []),
        "store": body.get("store", True),
        "service_tier": body.get("service_tier", "auto"),
        "metadata": body.get("metadata"),
        "usage": {
            "input_tokens": PROMPT_TOKENS,
            "input_tokens_details": {"cached_tokens": CACHED_TOKENS},
            "output_tokens": len(WORDS),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": PROMPT_TOKENS + len(WORDS),
        }
        if usage
        else None,
    }


def _item(body: dict[str, Any], *, begun: bool = False) -> dict[str, Any]:
    status = "in_progress" if begun else "completed"
    if tool := _tool(body):
        arguments = "" if begun else ARGUMENTS
        return {
            "id": "fc_1",
            "type": "function_call",
            "call_id": "call_1",
            "name": tool,
            "arguments": arguments,
            "status": status,
        }
    content = [] if begun else [_part("".join(WORDS))]
    return {"id": "item_1", "type": "message", "role": "assistant", "content": content, "status": status}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def response_events(body: dict[str, Any]) -> Iterator[Event]:
    for number, (name, data) in enumerate(_unnumbered(body)):
        yield name, {"type": name, "sequence_number": number, **data}


def _unnumbered(body: dict[str, Any]) -> Iterator[Event]:
    for status in ("created", "in_progress"):
        yield f"response.{status}", {"response": response(body, "in_progress", usage=False)}
    yield "response.output_item.added", {"output_index": 0, "item": _item(body, begun=True)}
    yield from _tool_events() if _tool(body) else _text_events()
    yield "response.output_item.done", {"output_index": 0, "item": _item(body)}
    yield "response.completed", {"response": response(body, "completed", usage=True)}


def _text_events() -> Iterator[Event]:
    place = {"item_id": "item_1", "output_index": 0, "content_index": 0}
    yield "response.content_part.added", {**place, "part": _part("")}
    for word in WORDS:
        yield "response.output_text.delta", {**place, "delta": word, "logprobs": []}
    yield "response.output_text.done", {**place, "text": "".join(WORDS), "logprobs": []}
    yield "response.content_part.done", {**place, "part": _part("".join(WORDS))}


def _tool_events() -> Iterator[Event]:
    place = {"item_id": "fc_1", "output_index": 0}
    for piece in _halves(ARGUMENTS):
        yield "response.function_call_arguments.delta", {**place, "delta": piece}
    done = {**place, "name": "", "arguments": ARGUMENTS}
    yield "response.function_call_arguments.done", done


def _tool(body: dict[str, Any]) -> str:
    """The name of the first tool; each API keeps it elsewhere."""
    tools = body.get("tools") or [{}]
    return str(tools[0].get("name", ""))


def _pieces(body: dict[str, Any]) -> tuple[str, ...]:
    return _halves(ARGUMENTS) if _tool(body) else WORDS


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]
