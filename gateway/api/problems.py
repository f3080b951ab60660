"""Errors of the control API: RFC 9457 problem documents, the same shape for every status."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import django.core.exceptions
import django.db
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI, Schema
from ninja.errors import AuthenticationError, HttpError, ValidationError
from redis.exceptions import RedisError

from scheduling.services import Conflict, Missing

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1

WHO_ARE_YOU = (
    'Send an admin\'s API token as "Authorization: Bearer fla_…". `manage.py token issue --admin` makes one.'
)
TAKEN = "unique"  # Django's code for a value that another row has


class FieldProblem(Schema):
    """What is wrong with one field of the input."""

    field: str
    message: str


class Problem(Schema):
    """Why a request did not do what it asked (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = []


class Denied(Exception):
    """The API token is good, but not for this."""


class TooFast(Exception):
    """This API token asks too often."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"This API token asks too often. Try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


ERRORS = dict.fromkeys((400, 401, 403, 404, 409, 422, 429, 503), Problem)


def answers(schema: Any, status: int = 200) -> dict[int, Any]:
    """All answers of an operation, for the OpenAPI document."""
    return {status: schema, **ERRORS}


def problem(
    status: int,
    detail: str,
    errors: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """A problem document as a response. ``errors`` maps a field to what is wrong with it."""
    document = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        errors=[FieldProblem(field=field, message=message) for field, message in (errors or {}).items()],
    )
    return JsonResponse(document.dict(), status=status, content_type=MEDIA_TYPE, headers=dict(headers or {}))


@csrf_exempt
def nothing_here(_request: HttpRequest) -> HttpResponse:
    """The answer at an address that there is not."""
    return problem(404, "There is nothing at this address.")


def add_handlers(api: NinjaAPI) -> None:
    """Turn every exception that an operation may raise into a problem document."""
    for kind, status in ((Denied, 403), (Missing, 404), (Conflict, 409)):
        api.add_exception_handler(kind, _with_status(status))
    api.add_exception_handler(AuthenticationError, _unauthenticated)
    api.add_exception_handler(Http404, lambda request, error: nothing_here(request))
    api.add_exception_handler(HttpError, _http_error)
    api.add_exception_handler(ValidationError, _bad_shape)
    api.add_exception_handler(django.core.exceptions.ValidationError, _bad_value)
    api.add_exception_handler(TooFast, _too_fast)
    api.add_exception_handler(django.db.DataError, _unfit)
    for away in (django.db.OperationalError, django.db.InterfaceError, RedisError):
        api.add_exception_handler(away, _away)
    api.add_exception_handler(Exception, _bug)


def _with_status(status: int) -> Any:
    return lambda request, error: problem(status, str(error))


def _unauthenticated(_request: HttpRequest, _error: Any) -> HttpResponse:
    return problem(401, WHO_ARE_YOU, headers={"WWW-Authenticate": 'Bearer realm="fairlane"'})


def _http_error(_request: HttpRequest, error: Any) -> HttpResponse:
    return problem(error.status_code, str(error))


def _bad_shape(_request: HttpRequest, error: Any) -> HttpResponse:
    errors = {_field(each["loc"]): str(each["msg"]) for each in error.errors}
    return problem(422, _summary(errors), errors)


def _bad_value(_request: HttpRequest, error: Any) -> HttpResponse:
    errors = {field: " ".join(messages) for field, messages in error.message_dict.items()}
    taken = all(each.code == TAKEN for group in error.error_dict.values() for each in group)
    return problem(409 if taken else 422, _summary(errors), errors)


def _too_fast(_request: HttpRequest, error: Any) -> HttpResponse:
    return problem(429, str(error), headers={"Retry-After": str(error.retry_after_s)})


def _unfit(_request: HttpRequest, _error: Any) -> HttpResponse:
    return problem(422, "A text holds the character U+0000, or a number is too large to be stored.")


def _away(_request: HttpRequest, error: Any) -> HttpResponse:
    logger.warning("The control API cannot answer: %r", error)
    detail = "Postgres or Valkey cannot be reached now. Nothing was changed; try again."
    return problem(503, detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def _bug(request: HttpRequest, error: Any) -> HttpResponse:
    logger.error("%s %s failed", request.method, request.path, exc_info=error)
    return problem(500, "This is our fault. The log of the server says more.")


def _field(location: tuple[Any, ...]) -> str:
    """Ninja's place of a value, without the part of the request and the argument's name."""
    names = [str(part) for part in location[1:]]
    return ".".join(names[1:] if len(names) > 1 else names) or str(location[0])


def _summary(errors: Mapping[str, str]) -> str:
    return "; ".join(f"{field}: {message}" for field, message in errors.items())
