"""One JSON line per request, written when its record is stored: who, what, how long, how it ended.

Nothing of a prompt or an answer is in it. The event loop knows nothing of
this log: the thread that stores records writes it.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gateway.records import Record

OFF, STDERR = "off", "stderr"
MODE = 0o600
# What JSON lets through, and a terminal or a reader of lines may obey: DEL, C1, and Unicode's line ends.
UNSAFE = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")

log = logging.getLogger("fairlane.access")


class Line(msgspec.Struct, rename={"class_": "class"}):
    """One line, as docs/accounting.md tells. Spans are whole milliseconds, null if never reached."""

    ts: datetime
    level: str
    event: str
    worker: str
    request_id: str
    client_request_id: str
    tenant: str
    token_id: int | None
    user: str
    endpoint: str
    stream: bool
    model: str
    pool: str
    backend: str
    class_: str
    outcome: str
    status: int
    attempt: int
    queue_ms: int | None
    ttft_ms: int | None
    total_ms: int | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    estimated: bool
    cost: int
    spend: int
    policy_version: int


class AccessLog:
    """Where the lines go: "off", "stderr", or a file.

    A file that grows past ``most_bytes`` is put aside once, as ``<name>.old``; one
    that somebody else has moved away is begun anew. A log that cannot be
    written holds nothing up.
    """

    def __init__(self, where: str, folder: Path, worker: str, most_bytes: int) -> None:
        self._path = None if where in (OFF, STDERR) else folder / where
        self._to_stderr = where == STDERR
        self._worker = worker
        self._most_bytes = most_bytes
        self._failing = False

    @property
    def on(self) -> bool:
        """Whether anybody wants lines."""
        return self._to_stderr or self._path is not None

    def write(self, records: Iterable[Record]) -> None:
        """Write a line for each. Never raises."""
        lines = b"".join(_escaped(_encode(self._line(record))) + b"\n" for record in records)
        if not lines:
            return
        try:
            self._put(lines)
        except OSError as error:
            if not self._failing:
                log.error("the access log cannot be written: %s", error)  # noqa: TRY400
            self._failing = True
        else:
            self._failing = False

    def _put(self, lines: bytes) -> None:
        if self._path is None:
            sys.stderr.buffer.write(lines)
            sys.stderr.buffer.flush()
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Opened for each batch, four times a second: then it may be moved away at any time.
        file = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, MODE)
        try:
            os.write(file, lines)
            full = os.fstat(file).st_size > self._most_bytes
        finally:
            os.close(file)
        if full:
            self._path.replace(self._path.with_name(f"{self._path.name}.old"))

    def _line(self, record: Record) -> Line:
        accepted = record.accepted_at
        ended = accepted if record.ended_at is None else record.ended_at
        return Line(
            ts=datetime.fromtimestamp(ended, UTC),
            level="info",
            event="access",
            worker=self._worker,
            request_id=record.request_id,
            client_request_id=record.client_request_id,
            tenant=record.tenant,
            token_id=record.api_token_id,
            user=record.user_hash,
            endpoint=record.endpoint,
            stream=record.stream,
            model=record.model,
            pool=record.pool,
            backend=record.backend,
            class_=record.priority_class,
            outcome=record.outcome,
            status=record.status,
            attempt=record.attempt,
            queue_ms=_ms(record.queued_at, record.dispatched_at),
            ttft_ms=_ms(accepted, record.first_token_at),
            total_ms=_ms(accepted, ended),
            prompt_tokens=record.prompt_tokens,
            cached_tokens=record.cached_tokens,
            completion_tokens=record.completion_tokens,
            estimated=record.estimated,
            cost=record.cost,
            spend=record.spend,
            policy_version=record.policy_revision,
        )


_encode = msgspec.json.Encoder().encode


def _ms(since: float | None, until: float | None) -> int | None:
    return None if since is None or until is None else round((until - since) * 1000)


def _escaped(line: bytes) -> bytes:
    if line.isascii() and b"\x7f" not in line:
        return line  # nearly always, and ten times as fast to tell
    return UNSAFE.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), line)
