"""Headers that contradict each other: a client means one thing, and somebody else may read another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.input_errors import Contradictory

ONCE = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"idempotency-key",
        b"transfer-encoding",
        b"x-api-key",
        b"x-end-user-id",
        b"x-priority-class",
        b"x-request-timeout",
    }
)


def check_heads(scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> None:
    """Raise Contradictory for two of what may come once, and for no Host.

    ``headers`` are those of the scope by name. When none comes twice, two
    comparisons say so.
    """
    raw: Sequence[tuple[bytes, bytes]] = scope["headers"]
    if len(headers) != len(raw):
        counts = Counter(name for name, _ in raw)
        twice = sorted(name.decode() for name, count in counts.items() if count > 1 and name in ONCE)
        if twice:
            raise Contradictory(f"Send {' and '.join(twice)} once.")
    if b"host" not in headers and scope.get("http_version") != "1.0":
        raise Contradictory("Send a Host header.")
