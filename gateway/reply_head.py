"""The head of an engine's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

PASSED_HEADERS = frozenset({b"content-type", b"content-length", b"retry-after", b"content-disposition"})
PLAIN_JSON = b"application/json"
EVENT_STREAM = b"text/event-stream"


class ReplyHead:
    """What the head of an answer says. ``headers`` are by lower-case name.

    ``load`` is the engine's ORCA report, empty when it sent none. One head
    may be that of many answers.
    """

    __slots__ = ("_headers", "coding", "content_length", "content_type", "is_plain", "load", "of_stream")

    def __init__(self, headers: Mapping[bytes, bytes]) -> None:
        found = headers.get
        self._headers = headers
        self.content_type = kind = found(b"content-type", b"")
        self.of_stream = kind.lower().startswith(EVENT_STREAM)
        length = found(b"content-length")
        self.content_length = None if length is None else int(length)
        self.coding = found(b"content-encoding", b"")
        self.load = found(b"endpoint-load-metrics", b"")
        self.is_plain = not self.coding and (self.of_stream or kind == PLAIN_JSON)

    @property
    def passed(self) -> Sequence[tuple[bytes, bytes]]:
        """The headers that a client may see."""
        return [header for header in self._headers.items() if header[0] in PASSED_HEADERS]
