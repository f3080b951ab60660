"""Reads transcriptions and translations, which may be plain text, or end as no other stream does."""

from __future__ import annotations

import re
from typing import Any

from gateway.reported import BYTES_PER_TOKEN, OpaqueScanner
from gateway.sse import SseScanner
from scheduling.core.usage import Usage

# How OpenAI's own transcriptions end. In a text every quote is escaped, so nothing that was said can match.
LAST_BY_TYPE = re.compile(rb'"type": ?"transcript\.text\.done"')
TAIL_BYTES = 31  # one less than the longest of it


class TextScanner(OpaqueScanner):
    """Passes on a text, such as subtitles: its length is all that it says."""

    __slots__ = ("_size", "_usage")

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; they are passed on as they are."""
        self._size += len(data)
        return data

    def finish(self) -> bytes:
        """The text is whole: write down about how long it is. Nothing is held back."""
        self._usage.completion_tokens = max(1, self._size // BYTES_PER_TOKEN)
        return b""


class TranscriptScanner(SseScanner):
    """Also knows a stream's end by the type that its last event names in its data."""

    __slots__ = ("_named_last", "_tail")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._tail = b""
        self._named_last = False

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those to pass on."""
        text = self._tail + data
        self._named_last = self._named_last or LAST_BY_TYPE.search(text) is not None
        self._tail = text[-TAIL_BYTES:]
        out = super().feed(data)
        self.done = self.done or (self._named_last and not self._open)
        return out
