"""What the clients see: events, whole bodies, vectors, and their failures."""

from __future__ import annotations

import base64
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from scheduling.simulation.engine.faults import Fault, FaultKind
from scheduling.simulation.engine.http import Exchange
from scheduling.simulation.engine.prompts import Embedding, Generation
from scheduling.simulation.engine.request import Progress

SENTENCE = (
    "the quick brown fox waits in a short line while every tenant takes its fair turn and no one holds "
    "the engine for long"
)
WORDS = tuple(SENTENCE.split())
DONE = b"data: [DONE]\n\n"
GARBAGE = b'data: {"choices": [{"delta": \xff\xfe oops\n\n'
HUGE_BYTES = 2 * 1024 * 1024
EVENT_STREAM = "text/event-stream; charset=utf-8"
WRONG_TYPE = "text/plain; charset=utf-8"


class Answer(Protocol):
    """Takes what the engine says about one request and tells the client."""

    def on_progress(self, progress: Progress) -> None:
        """One token further, or the end."""


@dataclass(frozen=True, slots=True)
class Told:
    """What every answer needs to know."""

    exchange: Exchange
    ident: str
    created: int
    model: str
    fault: Fault | None
    die: Callable[[], None]

    def strikes(self, kind: FaultKind) -> bool:
        """This failure is the one to show."""
        return self.fault is not None and self.fault.kind is kind


def word(index: int) -> str:
    """The text of a token, from 1: a space before all but the first."""
    text = WORDS[(index - 1) % len(WORDS)]
    return text if index == 1 else f" {text}"


def text_of(progress: Progress) -> str:
    """All that was said so far."""
    return "".join(word(index) for index in range(1, progress.output_tokens + 1))


def usage_of(prompt_tokens: int, progress: Progress) -> dict[str, Any]:
    """The usage object; with prompt_tokens_details when some of the prompt was cached."""
    usage: dict[str, Any] = {
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens + progress.output_tokens,
        "completion_tokens": progress.output_tokens,
    }
    if progress.cached_tokens:
        usage["prompt_tokens_details"] = {"cached_tokens": progress.cached_tokens}
    return usage


class StreamedAnswer:
    """Server-sent events, one per token; what stays the same is encoded once."""

    def __init__(self, told: Told, ask: Generation) -> None:
        self._told = told
        self._ask = ask
        self._silent = False
        kind = "chat.completion.chunk" if ask.chat else "text_completion"
        opening = {"id": told.ident, "object": kind, "created": told.created, "model": told.model}
        self._opening = b"data: " + msgspec.json.encode(opening)[:-1]
        text = b'"delta":{"content":"' if ask.chat else b'"text":"'
        self._before = self._opening + b',"choices":[{"index":0,' + text
        closing = b'"}' if ask.chat else b'"'
        self._after = closing + b',"logprobs":null,"finish_reason":null}]}\n\n'
        self._closing = closing + b',"logprobs":null,"finish_reason":"%b","stop_reason":null}]}\n\n'
        wrong = told.strikes(FaultKind.WRONG_TYPE)
        told.exchange.begin(WRONG_TYPE if wrong else EVENT_STREAM)

    def on_progress(self, progress: Progress) -> None:
        """Send the token's event; with the last, usage and the end."""
        if self._silent or self._struck(progress.output_tokens - 1):
            return
        self._told.exchange.send(*self._events(progress))
        if progress.finish is not None:
            self._told.exchange.end()

    def _events(self, progress: Progress) -> list[bytes]:
        text = word(progress.output_tokens).encode()
        if progress.finish is None:
            event = self._before + text + self._after
        else:
            event = self._before + text + self._closing % progress.finish.value.encode()
        events = [event]
        if progress.output_tokens == 1 and self._ask.chat:
            role = b',"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,'
            events.insert(0, self._opening + role + b'"finish_reason":null}]}\n\n')
        if progress.finish is None:
            return events
        if self._ask.include_usage:
            usage = msgspec.json.encode(usage_of(self._ask.prompt_tokens, progress))
            events.append(self._opening + b',"choices":[],"usage":' + usage + b"}\n\n")
        return [*events, DONE]

    def _struck(self, sent: int) -> bool:
        """Show the failure whose moment this is; True when nothing more is to be sent."""
        fault, exchange = self._told.fault, self._told.exchange
        if fault is None or sent != fault.events:
            return False
        if fault.kind is FaultKind.GARBAGE_EVENT:
            exchange.send(GARBAGE)
        elif fault.kind is FaultKind.HUGE_EVENT:
            exchange.send(self._before + b"x" * HUGE_BYTES + self._after)
        else:
            self._silent = _break_off(self._told)
        return self._silent


class WholeAnswer:
    """One JSON body when the last token is said."""

    def __init__(
        self, told: Told, ask: Generation, headers: Callable[[], tuple[tuple[str, str], ...]]
    ) -> None:
        self._told = told
        self._ask = ask
        self._headers = headers  # read at the end: they tell the load of that moment

    def on_progress(self, progress: Progress) -> None:
        """Wait for the end, then answer."""
        if progress.finish is None:
            return
        told, body = self._told, self._body(progress)
        if told.fault is not None and (told.fault.kind.mid_stream or told.strikes(FaultKind.DIE)):
            self._break(body)
            return
        kind = WRONG_TYPE if told.strikes(FaultKind.WRONG_TYPE) else "application/json"
        told.exchange.reply(200, body, kind, self._headers())

    def _body(self, progress: Progress) -> bytes:
        text = text_of(progress)
        choice: dict[str, Any] = {"index": 0}
        if self._ask.chat:
            choice["message"] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        choice |= {"logprobs": None, "finish_reason": progress.finish, "stop_reason": None}
        return msgspec.json.encode(
            {
                "id": self._told.ident,
                "object": "chat.completion" if self._ask.chat else "text_completion",
                "created": self._told.created,
                "model": self._told.model,
                "choices": [choice],
                "usage": usage_of(self._ask.prompt_tokens, progress),
            }
        )

    def _break(self, body: bytes) -> None:
        """Without events the middle is half of the body."""
        told = self._told
        if told.strikes(FaultKind.GARBAGE_EVENT) or told.strikes(FaultKind.EOF_MID):
            told.exchange.reply(200, body[: len(body) // 2])
        elif told.strikes(FaultKind.HUGE_EVENT):
            told.exchange.reply(200, b'{"x":"' + b"x" * HUGE_BYTES + b'",' + body[1:])
        else:
            told.exchange.begin_sized(len(body))
            told.exchange.send_raw(body[: len(body) // 2])
            _break_off(told)


class EmbeddingAnswer:
    """All vectors when the last text is computed."""

    def __init__(self, told: Told, ask: Embedding) -> None:
        self._told = told
        self._ask = ask
        self._left = len(ask.inputs)

    def on_progress(self, progress: Progress) -> None:
        """One text is computed."""
        self._left -= 1
        if self._left:
            return
        tokens = sum(self._ask.prompt_tokens)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0}
        body = {"id": self._told.ident, "object": "list", "created": self._told.created}
        body |= {"model": self._told.model, **self._results(), "usage": usage}
        self._told.exchange.reply(200, msgspec.json.encode(body))

    def _results(self) -> dict[str, Any]:
        data = [
            {"object": "embedding", "index": index, "embedding": self._vector(text)}
            for index, text in enumerate(self._ask.inputs)
        ]
        return {"data": data}

    def _vector(self, text: str | list[int]) -> list[float] | str:
        """The same numbers for the same text, between -1 and 1."""
        source = random.Random(str(text))  # noqa: S311 - a made-up vector, no secret
        vector = [source.uniform(-1, 1) for _ in range(self._ask.dimensions)]
        if not self._ask.base64:
            return vector
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _break_off(told: Told) -> bool:
    """Stop answering in the way the failure says; False when it is none of these."""
    match told.fault.kind if told.fault else None:
        case FaultKind.STALL_MID:
            pass  # silence, on an open connection
        case FaultKind.RESET_MID:
            told.exchange.reset()
        case FaultKind.CUT_MID:
            told.exchange.cut()
        case FaultKind.EOF_MID:
            gone = told.exchange.on_gone
            told.exchange.end()
            if gone:
                gone()  # the engine computes no further for an answer that is over
        case FaultKind.DIE:
            told.die()
        case _:
            return False
    return True
