"""The refusals of what consumers see and steer of their own, of retries, and of idempotency keys."""

from __future__ import annotations

from gateway.errors import Refused
from scheduling.core.outcome import Outcome


class CancelledByOwner(Refused):
    """The request's owner cancelled it: POST /v1/requests/{id}/cancel with an API token of its tenant."""

    status = 499  # as for a client that left: nobody retries it, and no fault of ours is counted
    type = "request_cancelled"
    code = "cancelled"
    outcome = Outcome.CANCELLED_CLIENT


class RequestNotFound(Refused):
    """The tenant has no such request. GET /v1/requests lists those that wait or run."""

    status = 404
    type = "invalid_request_error"
    code = "request_not_found"
    outcome = Outcome.INVALID


class RecordsUnavailable(Refused):
    """Ended requests and usage cannot be read now. What waits or runs can be."""

    status = 503
    code = "records_unavailable"
    outcome = Outcome.INTERNAL
    retry_after_ms = 5000


class AskedTooOften(Refused):
    """This API token asks for queue, requests, limits and usage too often."""

    status = 429
    type = "rate_limit_error"
    code = "asked_too_often"
    outcome = Outcome.QUOTA
    retry_after_ms = 1000


class RetryBudgetExhausted(Refused):
    """Too many of the tenant's requests are retries of others. Wait longer before the next one."""

    status = 429
    type = "rate_limit_error"
    code = "retry_budget_exhausted"
    outcome = Outcome.QUOTA
    retry_after_ms = 20_000


class IdempotencyMismatch(Refused):
    """This Idempotency-Key came with another body or path before. Use a new key for a new request."""

    status = 422
    type = "invalid_request_error"
    code = "idempotency_mismatch"
    outcome = Outcome.INVALID


class IdempotencyBusy(Refused):
    """The request of this Idempotency-Key is still waiting or running. Ask again for its answer."""

    status = 409
    type = "invalid_request_error"
    code = "idempotency_in_progress"
    outcome = Outcome.INVALID
    retry_after_ms = 2000


class IdempotencySpent(Refused):
    """The request of this Idempotency-Key was answered, by a stream or at a length that is not kept.

    Use a new key to run it again.
    """

    status = 409
    type = "invalid_request_error"
    code = "idempotency_spent"
    outcome = Outcome.INVALID
