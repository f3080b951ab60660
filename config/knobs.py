"""Every setting an admin may turn: its name with the unit, its default, and what it does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured

from gateway.endpoints import relayed

KINDS = {int: "a whole number", float: "a number", str: "a text"}

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Knob:
    """One setting, read from the environment variable of the same name."""

    name: str  # the last word is the unit: _S seconds, _BYTES, _REQUESTS
    default: int | float | str
    help: str
    at_least: float | None = None
    check: Callable[[str], object] | None = None  # raises ValueError, which says what is wrong
    one_of: tuple[str, ...] = ()

    def read(self, environ: Mapping[str, str] = os.environ) -> int | float | str:
        """The value in force. A value of the wrong kind stops the start."""
        text = environ.get(self.name, "").strip()
        if not text:
            return self.default
        kind = type(self.default)
        try:
            value = kind(text)
        except ValueError:
            raise ImproperlyConfigured(
                f"{self.name} is {text!r}; it must be {KINDS[kind]}. {self.help}"
            ) from None
        if self.at_least is not None and float(value) < self.at_least:
            raise ImproperlyConfigured(f"{self.name} is {text}; it must be {self.at_least:g} or more.")
        if self.check is not None:
            try:
                self.check(text)
            except ValueError as error:
                raise ImproperlyConfigured(f"{self.name}: {error}. {self.help}") from None
        if self.one_of and value not in self.one_of:
            raise ImproperlyConfigured(f"{self.name} is {text!r}; it must be {' or '.join(self.one_of)}.")
        return value


KNOBS = (
    Knob(
        "FAIRLANE_ALLOWED_HOSTS",
        "localhost,127.0.0.1,[::1]",
        "Host names the console answers to, by comma.",
    ),
    Knob(
        "FAIRLANE_TRUSTED_ORIGINS",
        "",
        "Origins such as https://fairlane.example, by comma, when a proxy ends TLS.",
    ),
    Knob(
        "FAIRLANE_POLL_EVERY_S",
        1.0,
        "How often each engine's metrics are read, unless its backend says otherwise (`poll_every_ms`).",
        0.1,
    ),
    Knob("FAIRLANE_METRICS_STALE_S", 10.0, "A reading older than this changes no limit.", 1),
    Knob(
        "FAIRLANE_POLICY_STALE_S",
        3600.0,
        "How long the last policy serves while Postgres is away.",
        1,
    ),
    Knob(
        "FAIRLANE_DRAIN_S",
        6.0,
        "How long running requests may take to end when the server stops.",
        0,
    ),
    Knob("FAIRLANE_BODY_BYTES", 10 * MIB, "The largest request body, inflated if it is compressed.", 1024),
    Knob("FAIRLANE_BODIES_BYTES", 2048 * MIB, "Large bodies that one gateway holds, before 503.", 1024),
    Knob(
        "FAIRLANE_KEPT_MEMORY_BYTES",
        64 * MIB,
        "Freed memory that a web process keeps for the next large prompts. 0: the C library decides.",
        0,
    ),
    Knob("FAIRLANE_BODY_READ_S", 30.0, "How long a client may take to send its body.", 1),
    Knob("FAIRLANE_HEADERS_BYTES", 32 * 1024, "The largest request line and headers together.", 1024),
    Knob(
        "FAIRLANE_HEADERS_READ_S",
        10.0,
        "How long a client may take to send its headers, from when it connects or begins.",
        0.1,
    ),
    Knob("FAIRLANE_MOST_HEADERS", 100, "Headers a request may have.", 10),
    Knob(
        "FAIRLANE_MAX_CONNECTIONS", 20000, "Connections that clients may have to one process before 503.", 1
    ),
    Knob("FAIRLANE_JSON_LEVELS", 64, "How deep lists and objects of a body may be nested.", 8),
    Knob(
        "FAIRLANE_JSON_VALUES",
        300000,
        "Values a body may hold; those of a body under half a MiB are not counted.",
        1000,
    ),
    Knob("FAIRLANE_MOST_MESSAGES", 4096, "Messages a request may have.", 1),
    Knob("FAIRLANE_MOST_CHOICES", 128, "Answers a request may ask for at once: `n` and `best_of`.", 1),
    Knob("FAIRLANE_MOST_LOGPROBS", 20, "The largest `logprobs` or `top_logprobs` of a request.", 0),
    Knob(
        "FAIRLANE_MOST_COMPLETION_TOKENS", 1000000, "The largest `max_tokens` and its like of a request.", 1
    ),
    Knob(
        "FAIRLANE_HOLD_STATUS_S",
        5.0,
        "How long a queued stream waits before 200 and comments are sent, unless its API token (`hold_status_s`) "
        "or `x-hold-ms` says otherwise. `inf`: never early.",
        0,
    ),
    Knob(
        "FAIRLANE_COMMENT_EVERY_S",
        10.0,
        "How often a waiting stream hears of its place, as an SSE comment.",
        0.1,
    ),
    Knob("FAIRLANE_QUEUE_TIMEOUT_S", 600.0, "How long a request may wait in line before 503.", 1),
    Knob("FAIRLANE_CONNECT_TIMEOUT_S", 5.0, "How long a connection to an engine may take.", 0.1),
    Knob(
        "FAIRLANE_FIRST_BYTE_TIMEOUT_S",
        600.0,
        "How long an engine may take to begin its answer.",
        1,
    ),
    Knob(
        "FAIRLANE_STALL_TIMEOUT_S",
        120.0,
        "How long an engine may be silent in the middle of an answer.",
        1,
    ),
    Knob(
        "FAIRLANE_ANSWER_TIMEOUT_S",
        3600.0,
        "How long a whole answer may take from its dispatch, however it comes: an engine that trickles holds its "
        "seat no longer. 0: no limit.",
        0,
    ),
    Knob(
        "FAIRLANE_SLOW_CLIENT_S",
        30.0,
        "How long a client may leave sent bytes unread before it is cut off.",
        1,
    ),
    Knob(
        "FAIRLANE_EVENT_BYTES",
        MIB,
        "The largest single event of a stream that is still read for usage.",
        1024,
    ),
    Knob(
        "FAIRLANE_RECORD_EVERY_S",
        0.25,
        "How often finished requests are written to Postgres.",
        0.05,
    ),
    Knob(
        "FAIRLANE_JOURNAL_SYNC_MS",
        100,
        "How long a line of the journal may wait until it is forced onto the disk; a power cut can lose what is younger. 0: the kernel decides.",
        0,
    ),
    Knob(
        "FAIRLANE_ACCESS_LOG",
        "log/access.jsonl",
        "Where each request's line goes: `stderr`, `off`, or a file, whose path begins at the data folder.",
    ),
    Knob(
        "FAIRLANE_ACCESS_LOG_BYTES",
        64 * MIB,
        "How large that file grows before it is put aside as `.old`, in the place of the one before.",
        4096,
    ),
    Knob(
        "FAIRLANE_LOG_FORMAT",
        "text",
        "How the processes' other messages look: `text` for people, or `json`, one object a line.",
        one_of=("text", "json"),
    ),
    Knob(
        "FAIRLANE_RECORD_DAYS",
        400,
        "How long usage records are kept: 13 months, so that a year can be compared. 0 keeps them for ever.",
        0,
    ),
    Knob(
        "FAIRLANE_SNAPSHOT_EVERY_S",
        0.5,
        "How often a gateway publishes its queue while somebody watches.",
        0.1,
    ),
    Knob(
        "FAIRLANE_MAX_REQUESTS",
        10000,
        "Requests one gateway holds, waiting and running, before 503.",
        1,
    ),
    Knob("FAIRLANE_FILE_BYTES", 200 * MIB, "The largest file that may be uploaded for a batch.", 1024),
    Knob(
        "FAIRLANE_TENANT_FILES_BYTES",
        2048 * MIB,
        "How much room all files of a tenant may take.",
        1024,
    ),
    Knob("FAIRLANE_FILE_KEEP_S", 30 * 86400.0, "How long files and ended batches are kept.", 3600),
    Knob("FAIRLANE_UPLOAD_READ_S", 600.0, "How long a client may take to send a file.", 1),
    Knob("FAIRLANE_TENANT_UPLOADS", 8, "Files that a tenant may upload at once to one gateway process.", 1),
    Knob("FAIRLANE_OPEN_BATCHES", 100, "Batches of a tenant that have not ended.", 1),
    Knob("FAIRLANE_BATCH_REQUESTS", 50000, "The most requests in one batch.", 1),
    Knob(
        "FAIRLANE_BATCH_IN_FLIGHT_REQUESTS",
        16,
        "Requests of a running batch that wait and run in the gateway at once.",
        1,
    ),
    Knob(
        "FAIRLANE_BATCH_SHARE_PERCENT",
        50,
        "How much of its tenant's quotas by minute, in flight and in line a batch uses at most.",
        1,
    ),
    Knob(
        "FAIRLANE_BATCH_SLICE_S",
        20.0,
        "How long a worker sends a batch's requests before it is another batch's or job's turn.",
        0.1,
    ),
    Knob(
        "FAIRLANE_BATCH_CLAIM_S",
        30.0,
        "After so long without a sign of its worker a batch is taken up by another.",
        3,
    ),
    Knob(
        "FAIRLANE_RUNNING_BATCHES",
        1,
        "Batches that one host's jobs worker runs at once; it has one process more than that.",
        1,
    ),
    Knob(
        "FAIRLANE_PASSED_PATHS",
        "",
        "Further paths under /v1 that engines serve, by comma, such as /v1/moderations or /v1/images/edits: JSON "
        "and forms posted there are relayed as they are. All others are 404.",
        check=relayed,
    ),
    Knob(
        "FAIRLANE_STATUS_PER_S",
        20.0,
        "How often one API token may ask for queue, requests, limits and usage.",
        0.1,
    ),
    Knob(
        "FAIRLANE_RETRY_RATIO",
        0.2,
        "Retries a tenant may send within a minute, as a part of its first tries.",
        0,
    ),
    Knob("FAIRLANE_RETRY_FLOOR", 10, "Retries a tenant may send within a minute besides.", 0),
    Knob("FAIRLANE_IDEMPOTENCY_S", 86400.0, "How long an Idempotency-Key is remembered.", 1),
    Knob(
        "FAIRLANE_IDEMPOTENCY_ENTRIES",
        10000,
        "Answered Idempotency-Keys that are remembered at most.",
        0,
    ),
    Knob(
        "FAIRLANE_IDEMPOTENCY_BYTES",
        64 * MIB,
        "Memory for the answers of Idempotency-Keys.",
        0,
    ),
    Knob(
        "FAIRLANE_GATEWAY_URL",
        "http://127.0.0.1:8000",
        "Where demo traffic and batches find the gateway; `serve` sets it.",
    ),
    Knob(
        "FAIRLANE_LINK_LOCAL_BACKENDS",
        0,
        "1 allows backends at link-local addresses such as 169.254.0.0/16.",
    ),
)


def read_all(environ: Mapping[str, str] = os.environ) -> dict[str, int | float | str]:
    """All knobs by name. Raises ImproperlyConfigured on the first bad one."""
    return {knob.name: knob.read(environ) for knob in KNOBS}
