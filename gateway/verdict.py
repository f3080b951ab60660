"""Whether what an engine answered is an answer."""

from __future__ import annotations

import email.utils
import re
from datetime import UTC, datetime

import msgspec

from gateway.failures import Busy, EngineErrored, Garbage
from gateway.reply import EXCERPT_BYTES, Reply
from gateway.unreadable import UNREADABLE

OK = 200
BUSY = (429, 503, 529)  # the last is Anthropic's
NOT_SERVED = 501  # the engine has no such API: nobody's failure, and no reason to leave the engine alone
MAX_RETRY_AFTER_S = 3600.0  # no engine knows more than an hour ahead
PEEK_BYTES = 64  # enough to tell an error object from an answer
HTML = (b"text/html", b"application/xhtml")
JSON = re.compile(rb"application/(?:[a-z.]+\+)?json\b", re.IGNORECASE)
ERROR_BODY = re.compile(rb'\s*\{\s*"error"\s*:\s*[{"]')


def is_plain(reply: Reply) -> bool:
    """Whether what has come by now says that ``judge`` would find nothing: so it is nearly always."""
    if reply.streamed:
        return reply.call.stream and reply.status == OK and reply.head.is_plain
    return reply.plain_body is not None


async def judge(reply: Reply) -> None:
    """Look at the head, and at as much of the body as it takes; nothing is read away.

    Returns when the reply is worth passing on: 2xx, or a 4xx or 501 that is
    the client's own fault. Raises Busy, EngineErrored or Garbage.
    """
    if reply.status in BUSY or (reply.status >= 500 and reply.status != NOT_SERVED):
        await _raise_error(reply)
    if not (200 <= reply.status < 300 or 400 <= reply.status <= NOT_SERVED):
        raise _garbage(reply, f"It answered with status {reply.status}")
    if reply.status >= 400:
        return
    if reply.head.coding.lower() not in (b"", b"identity"):
        raise _garbage(reply, f"It compressed its answer ({reply.head.coding!r}) though asked not to")
    if reply.streamed != reply.call.stream or reply.head.content_type.lower().startswith(HTML):
        await _check_other_kind(reply)
    if not reply.streamed:
        await _check_whole(reply)


async def _raise_error(reply: Reply) -> None:
    body = (await reply.peek(EXCERPT_BYTES))[:EXCERPT_BYTES]
    if reply.status in BUSY:
        raise Busy(status=reply.status, body=body, retry_after_s=retry_after_s(dict(reply.head.passed)))
    raise EngineErrored(
        f"{EngineErrored.__doc__} It answered {reply.status}.", status=reply.status, body=body, retryable=True
    )


async def _check_other_kind(reply: Reply) -> None:
    """The answer is not of the kind that was asked for; JSON instead of a stream is let pass."""
    if reply.call.stream and JSON.match(reply.head.content_type):
        return
    asked = "an event stream" if reply.call.stream else "JSON"
    failure = _garbage(
        reply, f"It sent {reply.head.content_type.decode(errors='replace') or 'no type'}, not {asked}"
    )
    failure.body = (await reply.peek(EXCERPT_BYTES))[:EXCERPT_BYTES] if not reply.streamed else b""
    raise failure


async def _check_whole(reply: Reply) -> None:
    body = await reply.peek(EXCERPT_BYTES if reply.call.stream else PEEK_BYTES)
    if ERROR_BODY.match(body):
        raise EngineErrored(
            f"{EngineErrored.__doc__} It answered {reply.status} with an error.",
            status=reply.status,
            body=(await reply.peek(EXCERPT_BYTES))[:EXCERPT_BYTES],
            retryable=True,
        )
    if reply.call.stream and reply.whole:
        try:
            msgspec.json.decode(body, type=msgspec.Raw)
        except UNREADABLE as error:
            raise _garbage(reply, f"Its JSON is broken: {error}") from None


def _garbage(reply: Reply, why: str) -> Garbage:
    failure = Garbage(f"{Garbage.__doc__} {why}.")
    failure.status = reply.status
    return failure


def retry_after_s(headers: dict[bytes, bytes]) -> float | None:
    """The engine's own word on when to come back, in seconds; None when it says nothing sensible."""
    text = headers.get(b"retry-after", b"").decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_RETRY_AFTER_S)
    try:
        at = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max(0.0, (at - datetime.now(UTC)).total_seconds()), MAX_RETRY_AFTER_S)
