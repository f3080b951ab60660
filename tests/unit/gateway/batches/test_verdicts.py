"""What the gateway's answers mean for a batch."""

from __future__ import annotations

import pytest

from gateway.batches.verdicts import (
    DEFAULT_WAIT_S,
    EXHAUSTED_WAIT_S,
    MOST_WAIT_S,
    Answer,
    Repeat,
    Wait,
    judge,
    rest_s,
)
from gateway.errors import error_body

FINAL = {"x-should-retry": "false"}


def answer(status: int, code: str = "x", **headers: str) -> Answer:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, told, error_body("", "t", code))


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (answer(429, "queue_full", retry_after="2", retry_after_ms="1500"), Wait(1.5, "queue_full")),
        (answer(503, "draining", retry_after="7"), Wait(7.0, "draining")),
        (answer(503, "draining", retry_after="999999"), Wait(MOST_WAIT_S, "draining")),
        (answer(429, ""), Wait(DEFAULT_WAIT_S, "429")),
        (
            answer(429, "insufficient_quota", x_should_retry="false"),
            Wait(EXHAUSTED_WAIT_S, "insufficient_quota"),
        ),
        (answer(403, "tenant_suspended", x_should_retry="false"), Wait(EXHAUSTED_WAIT_S, "tenant_suspended")),
        (answer(502, "upstream_reset", retry_after="1"), Repeat(1.0)),
    ],
)
def test_what_passes_is_waited_out(said, verdict):
    assert judge(said) == verdict


@pytest.mark.parametrize(
    "said",
    [
        Answer(200, {}, b"{}"),
        answer(400),
        answer(401),
        answer(403),
        answer(404),
        answer(500, x_should_retry="false"),
        answer(503, "cancelled", x_should_retry="false"),
        Answer(422, {}, b"not json"),
    ],
)
def test_everything_else_is_final(said):
    assert judge(said) is said


def test_a_batch_rests_until_the_others_part_of_the_minute_is_free_again():
    headers = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "20"}
    tokens = {"x-ratelimit-limit-tokens": "1000", "x-ratelimit-remaining-tokens": "0"}

    assert rest_s(headers, share_percent=50) == 10.0  # ten of sixty a minute are missing
    assert rest_s(headers, share_percent=80) == 0.0
    assert rest_s({**headers, **tokens}, share_percent=50) == 30.0
    assert rest_s({}, share_percent=50) == 0.0
