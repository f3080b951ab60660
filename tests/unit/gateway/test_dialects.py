"""How each API says what is not an answer."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime

import pytest

from gateway import engine_errors, errors
from gateway.dialect import OPENAI
from gateway.dialect_messages import MESSAGES
from gateway.dialect_responses import RESPONSES
from gateway.engine_errors import EngineFailed, EngineRefused, engine_failed
from gateway.errors import (
    BudgetExhausted,
    CancelledInQueue,
    Draining,
    Internal,
    Invalid,
    ModelNotFound,
    NoBackendNow,
    QueueFull,
    QueueTimeout,
    RateLimited,
    Refused,
    TooLarge,
    Unauthenticated,
)
from gateway.headers import RequestId
from scheduling.core.outcome import Outcome
from scheduling.core.quota import Left

ID = RequestId.of({b"x-request-id": b"trace-1"})
ANTHROPICS = {
    "invalid_request_error", "authentication_error", "permission_error", "not_found_error",
    "request_too_large", "rate_limit_error", "api_error", "overloaded_error", "timeout_error",
}  # fmt: skip
SAID = (
    b"not json", b"[]", b'{"error": {"message": "x"}}', b'{"error": "x"}',
    b'{"object": "error", "message": "x"}',
    b'{"detail": [{"loc": ["body"]}]}', b'{"type": "error", "error": {"type": "api_error", "message": "x"}}',
    b'{"type": "error", "error": "x"}', b'{"error": {"message": 5, "type": null}}',
)  # fmt: skip


def refusals() -> list[Refused]:
    """One of every kind, and an engine's in every shape there is."""
    kinds = {
        value
        for module in (errors, engine_errors)
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, Refused) and not issubclass(value, EngineFailed)
    }
    found = [kind() for kind in sorted(kinds, key=lambda kind: kind.__name__)]
    found += [engine_failed(outcome) for outcome in Outcome]
    return found + [EngineRefused(status, said) for status in (400, 404, 409, 413, 422) for said in SAID]


REFUSALS = refusals()


@pytest.mark.parametrize("dialect", [OPENAI, RESPONSES])
def test_whatever_is_refused_openais_apis_say_it_with_four_keys(dialect) -> None:
    for refused in REFUSALS:
        headers, body = dialect.refusal(refused, ID)
        error = json.loads(body)["error"]
        assert {"message", "type", "param", "code"} <= error.keys(), refused
        assert error["message"]
        assert isinstance(error["message"], str)
        assert dict(headers)[b"content-type"] == b"application/json"
        assert dialect.status(refused) == refused.status


def test_whatever_is_refused_the_messages_api_says_it_in_its_own_shape() -> None:
    for refused in REFUSALS:
        headers, body = MESSAGES.refusal(refused, ID)
        said = json.loads(body)
        assert said.keys() == {"type", "error", "request_id"}, refused
        assert (said["type"], said["request_id"]) == ("error", "trace-1")
        assert said["error"].keys() == {"type", "message"}
        assert said["error"]["type"] in ANTHROPICS
        assert said["error"]["message"]
        assert dict(headers)[b"request-id"] == b"trace-1"


@pytest.mark.parametrize("dialect", [OPENAI, RESPONSES, MESSAGES])
def test_every_refusal_says_whether_and_when_to_come_back(dialect) -> None:
    for refused in REFUSALS:
        headers = dict(dialect.refusal(refused, ID)[0])
        if headers[b"x-should-retry"] == b"false":
            assert not {b"retry-after", b"retry-after-ms"} & headers.keys()
        else:
            assert 1 <= int(headers[b"retry-after"]) <= 120
            assert 0 < int(headers[b"retry-after-ms"]) <= 1000 * int(headers[b"retry-after"])


@pytest.mark.parametrize(
    ("refused", "status", "kind"),
    [
        (Invalid(), 400, "invalid_request_error"),
        (Unauthenticated(), 401, "authentication_error"),
        (errors.Forbidden(), 403, "permission_error"),
        (ModelNotFound(), 404, "not_found_error"),
        (errors.PostOnly(), 405, "invalid_request_error"),
        (TooLarge(), 413, "request_too_large"),
        (RateLimited(), 429, "rate_limit_error"),
        (QueueFull(), 429, "rate_limit_error"),
        (BudgetExhausted(), 429, "rate_limit_error"),
        (Internal(), 500, "api_error"),
        (engine_failed(Outcome.UPSTREAM_RESET), 502, "api_error"),
        (engine_failed(Outcome.UPSTREAM_STALL), 504, "timeout_error"),
        (QueueTimeout(), 529, "overloaded_error"),
        (NoBackendNow(), 529, "overloaded_error"),
        (Draining(), 529, "overloaded_error"),
        (CancelledInQueue(), 503, "api_error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Refused) else None,
)
def test_the_messages_api_has_types_and_statuses_of_its_own(refused, status, kind) -> None:
    assert MESSAGES.status(refused) == status
    assert json.loads(MESSAGES.error(refused, ID))["error"]["type"] == kind


def test_an_engine_that_speaks_messages_is_heard_word_for_word() -> None:
    said = {"type": "error", "error": {"type": "not_found_error", "message": "no such beta"}}
    refused = EngineRefused(400, json.dumps(said).encode())

    assert json.loads(MESSAGES.error(refused, ID)) == {**said, "request_id": "trace-1"}


def test_an_engine_that_speaks_openais_errors_is_translated() -> None:
    said = {"message": "body.messages", "type": "Bad Request", "code": 400}
    refused = EngineRefused(400, json.dumps({"error": said}).encode())
    error = json.loads(MESSAGES.error(refused, ID))["error"]

    assert error == {"type": "invalid_request_error", "message": "body.messages"}


def _event(data: bytes) -> tuple[str, dict[str, object]]:
    lines = data.decode().split("\n")
    assert lines[-2:] == ["", ""], "an event ends with a blank line"
    fields = dict(line.split(": ", 1) for line in lines if line and not line.startswith(":"))
    return fields.get("event", ""), json.loads(fields["data"])


def test_the_last_words_of_a_stream_are_an_error_event_that_its_clients_know() -> None:
    refused = engine_failed(Outcome.UPSTREAM_RESET)
    openai, responses, messages = (
        _event(dialect.last_words(refused, ID)) for dialect in (OPENAI, RESPONSES, MESSAGES)
    )
    error = {"type": "server_error", "code": "upstream_reset", "message": str(refused), "param": None}

    assert openai == ("", {"error": error})
    assert responses == (
        "error",
        {"type": "error", "sequence_number": 0, "code": "upstream_reset", "message": str(refused),
         "param": None, "error": error},
    )  # fmt: skip
    assert messages[0] == "error"
    assert messages[1]["error"] == {"type": "api_error", "message": str(refused)}


def test_a_waiting_stream_is_told_by_comments_and_a_waiting_message_by_pings() -> None:
    for dialect in (OPENAI, RESPONSES):
        assert dialect.waiting(7, 4100) == b": queued position=7 eta=4.1s\n\n"
        assert dialect.waiting(7, None) == b": queued position=7\n\n"
        assert dialect.working.startswith(b":")
    assert MESSAGES.waiting(7, 4100).startswith(b": queued position=7 eta=4.1s\n")
    assert _event(MESSAGES.waiting(7, 4100)) == _event(MESSAGES.working) == ("ping", {"type": "ping"})


def test_the_messages_api_tells_moments_at_which_allowances_are_whole_again() -> None:
    left = {"requests_per_minute": Left(60, 59, 1000), "tokens_per_minute": Left(500, 7, 90_000)}
    before = datetime.now(UTC).replace(microsecond=0)
    headers = dict(MESSAGES.quota_headers(left))

    reset = datetime.fromisoformat(headers[b"anthropic-ratelimit-tokens-reset"].decode())
    assert 89 <= (reset - before).total_seconds() <= 92
    assert headers[b"anthropic-ratelimit-requests-limit"] == b"60"
    assert headers[b"anthropic-ratelimit-requests-remaining"] == b"59"
    assert headers[b"anthropic-ratelimit-tokens-remaining"] == b"7"
    assert MESSAGES.quota_headers({}) == []


def test_a_spent_minute_is_told_in_the_headers_of_its_refusal() -> None:
    refused = RateLimited(retry_after_ms=5_000)
    refused.left = {"requests_per_minute": Left(60, 0, 5_000)}
    openai, messages = (dict(dialect.refusal(refused, ID)[0]) for dialect in (OPENAI, MESSAGES))

    assert openai[b"x-ratelimit-remaining-requests"] == b"0"
    assert openai[b"ratelimit"] == b'"requests";r=0;t=5'
    assert int(openai[b"retry-after"]) >= 5, "never earlier than the allowance"
    assert messages[b"anthropic-ratelimit-requests-remaining"] == b"0"
