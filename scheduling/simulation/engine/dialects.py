"""Answers in the words of the Messages and the Responses API, as vLLM 0.32 sends them, and scores."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import msgspec

from scheduling.simulation.engine.answers import (
    EmbeddingAnswer,
    StreamedAnswer,
    Told,
    WholeAnswer,
    text_of,
    word,
)
from scheduling.simulation.engine.prompts import Generation
from scheduling.simulation.engine.request import Finish, Progress

DELTA = 'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
PLACE = {"content_index": 0, "output_index": 0}
FIRST_DELTA = 4  # the number of the first event of a response that bears text


class MessagesWhole(WholeAnswer):
    """One message."""

    def _body(self, progress: Progress) -> bytes:
        content = [{"type": "text", "text": text_of(progress)}]
        reason = _stop_reason(progress)
        usage = _message_usage(self._ask, progress)
        return msgspec.json.encode(_message(self._told, content, reason, usage))


class MessagesStream(StreamedAnswer):
    """One message in events, one per token."""

    def __init__(self, told: Told, ask: Generation) -> None:
        super().__init__(told, ask)
        self._before = (DELTA + '{"type":"text_delta","text":"').encode()
        self._after = b'"}}\n\n'

    def _events(self, progress: Progress) -> list[bytes]:
        events = [self._before + word(progress.output_tokens).encode() + self._after]
        if progress.output_tokens == 1:
            usage = {**_message_usage(self._ask, progress), "output_tokens": 0}
            start = {"message": _message(self._told, [], None, usage)}
            block = {"index": 0, "content_block": {"type": "text", "text": ""}}
            events[:0] = [_event("message_start", start), _event("content_block_start", block)]
        if progress.finish is None:
            return events
        last = {"delta": {"stop_reason": _stop_reason(progress), "stop_sequence": None}}
        return [
            *events,
            _event("content_block_stop", {"index": 0}),
            _event("message_delta", {**last, "usage": _message_usage(self._ask, progress)}),
            _event("message_stop", {}),
        ]


class ResponseWhole(WholeAnswer):
    """One response."""

    def _body(self, progress: Progress) -> bytes:
        return msgspec.json.encode(_response(self._told, self._ask, progress))


class ResponseStream(StreamedAnswer):
    """One response in events, one per token."""

    def __init__(self, told: Told, ask: Generation) -> None:
        super().__init__(told, ask)
        place = msgspec.json.encode({"item_id": _item_id(told), **PLACE, "logprobs": []})[:-1]
        self._before = (
            b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"'
        )
        self._after = b'",' + place[1:] + b"}\n\n"

    def _events(self, progress: Progress) -> list[bytes]:
        number = FIRST_DELTA + progress.output_tokens - 1
        after = b'","sequence_number":%d' % number + self._after[1:]
        events = [self._before + word(progress.output_tokens).encode() + after]
        if progress.output_tokens == 1:
            events[:0] = self._numbered(0, self._opening_events())
        if progress.finish is None:
            return events
        return events + self._numbered(number + 1, self._closing_events(progress))

    def _opening_events(self) -> list[tuple[str, dict[str, Any]]]:
        begun = {"response": _response(self._told, self._ask, None)}
        return [
            ("response.created", begun),
            ("response.in_progress", begun),
            ("response.output_item.added", {"output_index": 0, "item": _item(self._told, None)}),
            ("response.content_part.added", {"item_id": _item_id(self._told), **PLACE, "part": _part("")}),
        ]

    def _closing_events(self, progress: Progress) -> list[tuple[str, dict[str, Any]]]:
        text = text_of(progress)
        place = {"item_id": _item_id(self._told), **PLACE}
        return [
            ("response.output_text.done", {**place, "text": text, "logprobs": []}),
            ("response.content_part.done", {**place, "part": _part(text)}),
            ("response.output_item.done", {"output_index": 0, "item": _item(self._told, text)}),
            ("response.completed", {"response": _response(self._told, self._ask, progress)}),
        ]

    def _numbered(self, first: int, events: list[tuple[str, dict[str, Any]]]) -> list[bytes]:
        return [
            _event(name, {**data, "sequence_number": number})
            for number, (name, data) in enumerate(events, first)
        ]


class RerankAnswer(EmbeddingAnswer):
    """How well each document suits the query, the best first: made up, and always the same."""

    def _results(self) -> dict[str, Any]:
        results = [{"index": index, "relevance_score": score} for index, score in enumerate(self._scores())]
        return {"results": sorted(results, key=lambda result: -result["relevance_score"])}

    def _scores(self) -> list[float]:
        return [crc32(str(text).encode()) % 1000 / 1000 for text in self._ask.inputs]


class ScoreAnswer(RerankAnswer):
    """The same scores in the order of the texts."""

    def _results(self) -> dict[str, Any]:
        scores = enumerate(self._scores())
        return {"data": [{"index": index, "object": "score", "score": score} for index, score in scores]}


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode({"type": name, **data}))


# -- the Messages API


def _message(
    told: Told, content: list[dict[str, str]], reason: str | None, usage: dict[str, int]
) -> dict[str, Any]:
    return {
        "id": told.ident,
        "type": "message",
        "role": "assistant",
        "content": content,
        "model": told.model,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": usage,
    }


def _message_usage(ask: Generation, progress: Progress) -> dict[str, int]:
    """What was cached is counted beside the rest of the prompt, and left out when it is nothing."""
    usage = {"input_tokens": ask.prompt_tokens - progress.cached_tokens}
    if progress.cached_tokens:
        usage["cache_read_input_tokens"] = progress.cached_tokens
    return {**usage, "output_tokens": progress.output_tokens}


def _stop_reason(progress: Progress) -> str:
    return "max_tokens" if progress.finish is Finish.LENGTH else "end_turn"


# -- the Responses API


def _response(told: Told, ask: Generation, progress: Progress | None) -> dict[str, Any]:
    """The response; ``progress`` None: it has only begun."""
    cut = progress is not None and progress.finish is Finish.LENGTH
    ended = "incomplete" if cut else "completed"
    return {
        "id": told.ident,
        "object": "response",
        "created_at": told.created,
        "status": ended if progress else "in_progress",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "error": None,
        "instructions": None,
        "metadata": None,
        "model": told.model,
        "output": [_item(told, text_of(progress))] if progress else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "max_output_tokens": ask.max_tokens,
        "service_tier": "auto",
        "usage": _response_usage(ask, progress) if progress else None,
    }


def _response_usage(ask: Generation, progress: Progress) -> dict[str, Any]:
    return {
        "input_tokens": ask.prompt_tokens,
        "input_tokens_details": {"cached_tokens": progress.cached_tokens},
        "output_tokens": progress.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": ask.prompt_tokens + progress.output_tokens,
    }


def _item(told: Told, text: str | None) -> dict[str, Any]:
    content = [] if text is None else [_part(text)]
    status = "in_progress" if text is None else "completed"
    return {
        "id": _item_id(told),
        "type": "message",
        "role": "assistant",
        "content": content,
        "status": status,
    }


def _item_id(told: Told) -> str:
    return f"msg_{told.ident}"


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
