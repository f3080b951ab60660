"""What is asked of an engine, and how patiently."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


class EngineCall(msgspec.Struct, gc=False):
    """One request to an engine. ``body`` comes in parts that nobody joins."""

    request_id: str
    path: str  # below the backend's base, e.g. "/v1/chat/completions"
    body: tuple[bytes, ...]
    stream: bool  # the client asked for a stream
    strip_usage: bool  # the usage event was asked for by us, not by the client: leave it out
    headers: tuple[tuple[bytes, bytes], ...] = ()  # such as x-request-id, traceparent; never the client's own
    measures_tokens: bool = True  # False for embeddings: there is no completion to count


@dataclass(frozen=True, slots=True)
class RelayOptions:
    """How patient and how generous the relay is: seconds and bytes."""

    connect_s: float = 5.0
    first_byte_s: float = 600.0
    stall_s: float = 120.0
    answer_s: float = 3600.0  # for a whole answer, from its dispatch; 0: no limit
    event_bytes: int = 1024 * 1024  # the largest event that is read
    unread_bytes: int = 256 * 1024  # what may lie unread before the engine is made to wait
    link_local: bool = False
