"""How a request ended, or why it never ran: one word in code, database, metrics and screen."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """Every accepted request ends in exactly one of these (invariant I1)."""

    OK = "ok"
    # refusals: the request never ran
    AUTH = "auth"
    INVALID = "invalid"
    TOO_LARGE = "too_large"
    MODEL_NOT_FOUND = "model_not_found"
    MODEL_DENIED = "model_denied"
    QUOTA = "quota"
    CONCURRENCY = "concurrency"
    QUEUE_FULL = "queue_full"
    QUEUE_TIMEOUT = "queue_timeout"
    NO_BACKEND = "no_backend"
    DRAINING = "draining"
    CANCELLED_ADMIN = "cancelled_admin"
    # the client
    CANCELLED_CLIENT = "cancelled_client"  # its owner took it back, in line or under way
    CLIENT_GONE_QUEUED = "client_gone_queued"
    CLIENT_GONE_STREAMING = "client_gone_streaming"
    SLOW_CLIENT = "slow_client"
    # the engine
    CONNECT_FAIL = "connect_fail"
    DNS_FAIL = "dns_fail"
    UPSTREAM_4XX = "upstream_4xx"
    UPSTREAM_5XX = "upstream_5xx"
    UPSTREAM_TIMEOUT_TTFT = "upstream_timeout_ttft"
    UPSTREAM_TIMEOUT_TOTAL = "upstream_timeout_total"
    UPSTREAM_STALL = "upstream_stall"
    UPSTREAM_RESET = "upstream_reset"
    UPSTREAM_GARBAGE = "upstream_garbage"
    # ourselves
    WORKER_LOST = "worker_lost"
    INTERNAL = "internal"
