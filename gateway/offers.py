"""A request that offers another protocol than HTTP/1.1, which is not spoken here, is served as if it did not.

Java's own client offers HTTP/2 with each first request.
"""

from __future__ import annotations

from collections.abc import Sequence

OFFERS = (b"upgrade", b"http2-settings")  # of another protocol, and what belongs to that


def without_offer(method: bytes, url: bytes, version: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The request's head again, but for the offer."""
    lines = [b"%b %b HTTP/%b" % (method, url, version)]
    for name, value in headers:
        words = value.split(b",") if name == b"connection" else [value]
        if name not in OFFERS:
            kept = b",".join(each for each in words if each.strip().lower() not in OFFERS)
            lines.append(b"%b: %b" % (name, kept))
    return b"\r\n".join([*lines, b"", b""])
