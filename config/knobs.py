"""Every setting an admin may turn: its name with the unit, its default, and what it does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured

KINDS = {int: "a whole number", float: "a number", str: "a text"}

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Knob:
    """One setting, read from the environment variable of the same name."""

    name: str  # the last word is the unit: _S seconds, _BYTES, _REQUESTS
    default: int | float | str
    help: str
    at_least: float | None = None

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
    Knob("FAIRLANE_BODY_BYTES", 10 * MIB, "The largest request body.", 1024),
    Knob("FAIRLANE_BODY_READ_S", 30.0, "How long a client may take to send its body.", 1),
    Knob(
        "FAIRLANE_HOLD_STATUS_S",
        5.0,
        "How long a queued stream waits before 200 and comments are sent.",
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
        "FAIRLANE_SLOW_CLIENT_S",
        60.0,
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
