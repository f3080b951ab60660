"""One stream through one scanner, and the events it is made of."""

from __future__ import annotations

import json

from gateway.sse import SseScanner
from scheduling.core.usage import Usage

EVENT_BYTES = 6000  # above the bound of what may be held back, small enough to be passed in a test


def event(data: object, *, end: str = "\n\n", name: str = "") -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    line = end[: len(end) // 2]
    return (f"event: {name}{line}" if name else "").encode() + f"data: {text}{end}".encode()


def delta(**fields: object) -> dict[str, object]:
    return {"id": "c1", "choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


ROLE = event(delta(role="assistant", content=""))
TEXT = event(delta(content="Hi"))
FINISH = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
FIGURES = {"prompt_tokens": 12, "completion_tokens": 34, "prompt_tokens_details": {"cached_tokens": 8}}
USAGE = event({"id": "c1", "choices": [], "usage": FIGURES})
DONE = event("[DONE]")


class Scan:
    """One stream through one scanner, in the pieces given."""

    def __init__(self, *pieces: bytes, strip_usage: bool = False, measures_tokens: bool = True) -> None:
        self.usage = Usage(prompt_tokens=5)
        self.first_tokens = 0
        self.scanner = SseScanner(
            self.usage,
            self._first_token,
            strip_usage=strip_usage,
            event_bytes=EVENT_BYTES,
            measures_tokens=measures_tokens,
        )
        self.out = [self.scanner.feed(piece) for piece in pieces]
        self.at_boundary = self.scanner.at_boundary
        self.out.append(self.scanner.finish())

    def _first_token(self) -> None:
        self.first_tokens += 1

    @property
    def text(self) -> bytes:
        return b"".join(self.out)

    @property
    def facts(self) -> tuple[object, ...]:
        scanner = self.scanner
        flags = (scanner.done, scanner.finished, scanner.errored, scanner.complete, self.at_boundary)
        return (self.text, self.usage, self.first_tokens, *flags)
