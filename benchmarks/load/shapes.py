"""What is asked and what is answered: bytes, and lengths from a real trace or drawn in its shape."""

from __future__ import annotations

import csv
import json
import random
from dataclasses import dataclass

from scheduling.simulation.vtc.arena import find_trace

TRACE = "azure_llm_2023_conversation.csv"
# Lognormal fits (mu, sigma) of the trace's prompt and completion tokens, for machines without it.
PROMPT_FIT, COMPLETION_FIT = (6.633, 0.985), (5.019, 0.859)
SEED = 2023
ROWS = 512  # lengths that are taken from a trace
CHARS_PER_TOKEN = 4
MARK = b"@"  # stands before the time of sending in a chunk, and nowhere else
MARK_DIGITS = 19  # of time.monotonic_ns, with leading zeros

PLAIN_ANSWER = {
    "id": "chatcmpl-0123456789abcdef",
    "object": "chat.completion",
    "created": 1795435054,
    "model": "bench",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "word " * 60, "refusal": None, "tool_calls": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 60, "completion_tokens": 60, "total_tokens": 120},
}


@dataclass(frozen=True, slots=True)
class Lengths:
    """One request, in tokens."""

    prompt_tokens: int
    completion_tokens: int


def trace() -> tuple[list[Lengths], str]:
    """Lengths in the order of their arrival, and where they come from."""
    if path := find_trace(TRACE):
        with path.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))[:ROWS]
        return [Lengths(int(row["prompt_tokens"]), int(row["completion_tokens"])) for row in rows], TRACE
    dice = random.Random(SEED)
    drawn = [
        Lengths(
            max(1, int(dice.lognormvariate(*PROMPT_FIT))), max(1, int(dice.lognormvariate(*COMPLETION_FIT)))
        )
        for _ in range(ROWS)
    ]
    return drawn, "drawn in the shape of " + TRACE


def body(model: str, prompt_bytes: int, *, stream: bool) -> bytes:
    """A chat completion as clients ask for it."""
    members = {
        "model": model,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": ("word " * (prompt_bytes // 5 + 1))[:prompt_bytes]},
        ],
        "max_tokens": 256,
        "temperature": 0.7,
        "stream": stream,
    }
    if stream:
        members["stream_options"] = {"include_usage": True}
    return json.dumps(members, separators=(",", ":")).encode()


def request(path: str, headers: dict[str, str], payload: bytes) -> bytes:
    """The whole message."""
    lines = [
        f"POST {path} HTTP/1.1",
        "host: 127.0.0.1",
        "accept: application/json",
        "content-type: application/json",
        "user-agent: OpenAI/Python 3.54.0",
        *(f"{name}: {value}" for name, value in headers.items()),
        f"content-length: {len(payload)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + payload


def whole(payload: bytes, kind: bytes = b"application/json") -> bytes:
    """An answer in one piece."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    return head % (kind, len(payload)) + payload


def _event(choices: str, more: str = "") -> bytes:
    named = '"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1795435054'
    return f'data: {{{named},"model":"bench","choices":[{choices}]{more}}}\n\n'.encode()


def _delta(delta: str, finish: str = "null") -> str:
    return f'{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}'


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


ANSWER = whole(json.dumps(PLAIN_ANSWER, separators=(",", ":")).encode())
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)
STREAM_BEGIN = STREAM_HEAD + _chunk(_event(_delta('{"role":"assistant","content":""}')))
_USAGE = ',"usage":{"prompt_tokens":60,"completion_tokens":64,"total_tokens":124}'
STREAM_END = (
    _chunk(_event(_delta("{}", '"stop"')))
    + _chunk(_event("", _USAGE))
    + _chunk(b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)
# One token and the time at which it was sent: filled in with ``%``.
TOKEN = _chunk(_event(_delta('{"content":"@%s "}' % ("0" * MARK_DIGITS)))).replace(
    b"0" * MARK_DIGITS, b"%019d"
)
MODELS = whole(b'{"object":"list","data":[{"id":"bench","object":"model"}]}')
METRICS = whole(
    b'vllm:num_requests_running{model_name="bench"} 0\n'
    b'vllm:num_requests_waiting{model_name="bench"} 0\n'
    b'vllm:kv_cache_usage_perc{model_name="bench"} 0.0\n',
    b"text/plain; version=0.0.4; charset=utf-8",
)
