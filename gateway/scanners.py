"""Which scanner reads an answer."""

from __future__ import annotations

from collections.abc import Callable

from gateway.calls import EngineCall, RelayOptions
from gateway.endpoints import ENDPOINTS
from gateway.event_shape import opening_of
from gateway.reported import JsonScanner, OpaqueScanner
from gateway.spoken import TextScanner, TranscriptScanner
from gateway.sse import SseScanner
from gateway.sse_events import DONE_LINE
from scheduling.core.usage import Usage

JSON = b"json"

SPOKEN = frozenset(path for path, endpoint in ENDPOINTS.items() if endpoint.form)

Scanner = SseScanner | JsonScanner | OpaqueScanner


def stream_scanner(
    backend: str, call: EngineCall, usage: Usage, on_first_token: Callable[[], None], options: RelayOptions
) -> SseScanner:
    """Of a stream of events that comes from this backend."""
    spoken = call.path in SPOKEN
    return (TranscriptScanner if spoken else SseScanner)(
        usage,
        on_first_token,
        strip_usage=call.strip_usage,
        event_bytes=options.event_bytes,
        measures_tokens=call.measures_tokens,
        opening=None if spoken else opening_of(backend, call.path),
    )


def whole_scanner(
    call: EngineCall, content_type: bytes, usage: Usage, *, is_sized: bool
) -> JsonScanner | OpaqueScanner:
    """Of anything else. ``is_sized``: its length was told ahead."""
    if content_type and JSON not in content_type.lower():
        if not call.measures_tokens:
            return OpaqueScanner()
        if call.path in SPOKEN:
            return TextScanner(usage)
    return JsonScanner(usage, measures_tokens=call.measures_tokens, is_sized=is_sized)


def without_end(events: bytes) -> bytes:
    """Up to ``[DONE]``: vLLM sends it behind an error too, as if the answer were whole."""
    found = DONE_LINE.search(events)
    return events[: found.start()] if found else events
