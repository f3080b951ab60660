"""Every way a request is refused: the class is the case, its docstring is the message."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import msgspec

from scheduling.core.outcome import Outcome
from scheduling.core.quota import Left

MAX_RETRY_AFTER_MS = 60_000  # some SDKs obey any Retry-After without a cap


class Refused(Exception):
    """The request will not run."""

    status: int = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str] = "internal"
    outcome: ClassVar[Outcome] = Outcome.INTERNAL
    retry_after_ms: int | None = None  # None: a retry of the same request cannot help
    param: str | None = None
    left: Mapping[str, Left] = MappingProxyType({})  # of a minute's allowances, by kind
    told: bool = False  # the client has the engine's own error event already
    allow: ClassVar[bytes] = b""

    def __init__(
        self, message: str = "", *, param: str | None = None, retry_after_ms: int | None = None
    ) -> None:
        super().__init__(message or " ".join((self.__doc__ or "").split()))
        self.param = param
        if retry_after_ms is not None:
            self.retry_after_ms = min(max(retry_after_ms, 1), MAX_RETRY_AFTER_MS)

    def body(self) -> bytes:
        """The error in OpenAI's shape: all four keys, always."""
        return error_body(str(self), self.type, self.code, self.param)


def error_body(message: str, kind: str, code: str, param: str | None = None) -> bytes:
    """``{"error": {"message", "type", "param", "code"}}`` as JSON."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


class Unauthenticated(Refused):
    """The API token is missing, unknown, expired or revoked. Send it as "Authorization: Bearer fl_..."."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"
    outcome = Outcome.AUTH


class Forbidden(Refused):
    """This API token may not do that."""

    status = 403
    type = "permission_error"
    code = "forbidden"
    outcome = Outcome.AUTH


class Suspended(Forbidden):
    """The tenant of this API token is suspended."""

    code = "tenant_suspended"


class Invalid(Refused):
    """The request is not valid."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"
    outcome = Outcome.INVALID


class InvalidJson(Invalid):
    """The body is not valid JSON: send one JSON object in UTF-8."""

    code = "invalid_json"


class ModelNotAllowed(Forbidden):
    """This API token may not ask for this model. GET /v1/models lists those it may."""

    code = "model_not_allowed"
    outcome = Outcome.MODEL_DENIED


class ModelNotFound(Refused):
    """No such model. GET /v1/models lists the models there are."""

    status = 404
    type = "invalid_request_error"
    code = "model_not_found"
    outcome = Outcome.MODEL_NOT_FOUND


class NotFound(Refused):
    """There is no such path. docs/endpoints.md lists those there are."""

    status = 404
    type = "invalid_request_error"
    code = "unknown_url"
    outcome = Outcome.INVALID


class NotKept(Refused):
    """Responses are not kept: an engine would hold them in its own memory, where no other finds them."""

    status = 404
    type = "invalid_request_error"
    code = "response_not_kept"
    outcome = Outcome.INVALID


class WrongMethod(Refused):
    """This path takes another method: see the Allow header."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"
    outcome = Outcome.INVALID


class PostOnly(WrongMethod):
    """This path takes POST."""

    allow = b"POST"


class GetOnly(WrongMethod):
    """This path takes GET."""

    allow = b"GET, HEAD"


class BodyTooSlow(Refused):
    """The body did not arrive in time."""

    status = 408
    type = "invalid_request_error"
    code = "body_timeout"
    outcome = Outcome.INVALID
    retry_after_ms = 1000


class TooLarge(Refused):
    """The body is too large."""

    status = 413
    type = "request_too_large"
    code = "request_too_large"
    outcome = Outcome.TOO_LARGE


class Encoded(Refused):
    """This Content-Encoding is not read: send the body as it is, or as gzip or deflate."""

    status = 415
    type = "invalid_request_error"
    code = "unsupported_encoding"
    outcome = Outcome.INVALID


class RateLimited(Refused):
    """The requests or tokens that may come in a minute are used up."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    outcome = Outcome.QUOTA
    retry_after_ms = 1000


class BudgetExhausted(Refused):
    """The tokens or the money of the day or month are used up."""

    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"
    outcome = Outcome.QUOTA


class BudgetTooSmall(BudgetExhausted):
    """This request alone may need more than the whole budget of a day or month. Ask for less at once."""

    code = "budget_too_small"


class BudgetsUnknown(Refused):
    """The gateway does not know yet what was used of this tenant's quotas, and takes nothing on trust."""

    status = 503
    code = "budgets_unknown"
    outcome = Outcome.QUOTA
    retry_after_ms = 2000


class QueueFull(Refused):
    """The tenant already has as many requests waiting as it may."""

    status = 429
    type = "rate_limit_error"
    code = "queue_full"
    outcome = Outcome.QUEUE_FULL
    retry_after_ms = 2000


class Overloaded(Refused):
    """The gateway holds as many requests as it may. Try again soon."""

    status = 503
    type = "overloaded_error"
    code = "overloaded"
    outcome = Outcome.QUEUE_FULL
    retry_after_ms = 2000


class QueueTimeout(Refused):
    """The request waited in line until its deadline."""

    status = 503
    type = "overloaded_error"
    code = "queue_timeout"
    outcome = Outcome.QUEUE_TIMEOUT
    retry_after_ms = 5000


class NoBackendNow(Refused):
    """No backend serves this model right now."""

    status = 503
    code = "no_backend"
    outcome = Outcome.NO_BACKEND
    retry_after_ms = 5000


class Draining(Refused):
    """This gateway is shutting down. Try again."""

    status = 503
    code = "draining"
    outcome = Outcome.DRAINING
    retry_after_ms = 1000


class PolicyStale(Refused):
    """The gateway has not heard its rules for too long, and takes no new requests until it does."""

    status = 503
    code = "policy_stale"
    outcome = Outcome.NO_BACKEND
    retry_after_ms = 5000


class JournalFull(Refused):
    """The gateway cannot write its journal, and takes no new requests until it can."""

    status = 503
    code = "journal_full"
    outcome = Outcome.INTERNAL
    retry_after_ms = 5000


class CancelledInQueue(Refused):
    """An admin took the request out of line."""

    status = 503
    code = "cancelled"
    outcome = Outcome.CANCELLED_ADMIN


class Internal(Refused):
    """The gateway failed. The request id finds the cause in its log."""
