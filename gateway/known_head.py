"""A request head that was read once on a connection, to know it again by its bytes.

A client says the same with each request of a connection, but for the length
of the body. What llhttp has read once needs no reading again: the bytes are
compared instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Self

from gateway.heads import Head

LENGTH_LINE = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,8})[ \t]*\r\n", re.IGNORECASE)
LENGTH = b"content-length"
END = b"\r\n\r\n"


class KnownHead:
    """The head around its length, and what was read from it.

    ``head`` is what follows from it, once ``means`` was told that;
    ``scope`` and ``headers`` by name are those of a request with it. Of one
    that ``is_plain`` they may tell another's length: its body is here, and
    nobody asks.
    """

    __slots__ = ("_after", "_before", "_size", "head", "headers", "is_plain", "scope")

    def __init__(self, head: bytes, begin: int, end: int, scope: Mapping[str, Any]) -> None:
        self._before, self._after = head[:begin], head[end:]
        self._size = len(head)
        self.scope = scope
        self.headers: Mapping[bytes, bytes] = dict(scope["headers"])
        self.head: Head | None = None
        self.is_plain = False

    def means(self, head: Head) -> None:
        """This follows from it."""
        self.head, self.is_plain = head, head.is_plain

    @classmethod
    def of(cls, data: bytes, body: bytes, scope: Mapping[str, Any]) -> Self | None:
        """The head of these bytes, which are one request with this body and nothing else; None if unsure."""
        size = data.find(END) + len(END)
        headers = scope["headers"]
        found = LENGTH_LINE.search(data, 0, size)
        if (
            found is None
            or len(data) - size != len(body)
            or [value for name, value in headers if name == LENGTH] != [found[1]]
            or int(found[1]) != len(body)
            or any(name == b"transfer-encoding" for name, _ in headers)
        ):
            return None
        return cls(data[:size], *found.span(1), scope)

    def body_of(self, data: bytes) -> bytes | None:
        """The body, if the bytes are one whole request with this head, of a length of as many digits."""
        size = self._size
        length = len(data) - size
        if length > 0 and data[:size] == self._before + b"%d" % length + self._after:
            return data[size:]
        return None

    def tell_length(self, body: bytes) -> None:
        """Have the scope and the headers tell the length of this body."""
        length = b"%d" % len(body)
        if self.headers[LENGTH] != length:
            lines = [(name, length if name == LENGTH else value) for name, value in self.scope["headers"]]
            self.scope = {**self.scope, "headers": lines}
            self.headers = dict(lines)
