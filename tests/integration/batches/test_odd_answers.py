"""What a batch makes of lines and answers that are out of the ordinary: it goes on, and ends."""

from __future__ import annotations

import json

import pytest
from django.utils import timezone

from gateway.batches import credential, runner
from gateway.batches.asking import Asking
from gateway.batches.files import chunk, find
from gateway.batches.lines import BOM
from gateway.batches.models import Batch
from gateway.batches.services import cancel_own
from gateway.callers import Caller, CallerTable
from gateway.models import ApiToken
from scheduling import services
from scheduling.core.policy import Policy
from tests.fakes.batches import jsonl, line
from tests.fakes.scripted_gateway import GOOD, batch_of, error, say, scripted_gateway

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@pytest.fixture(autouse=True)
def tenant(db):
    services.create_tenant("chat", by="cli")


def run(knobs, script, slices: int = 1) -> Batch:
    """The batch after so many slices."""
    with scripted_gateway(script) as url:
        knobs["FAIRLANE_GATEWAY_URL"] = url
        for _ in range(slices):
            runner.run_slice()
    return Batch.objects.get()


def test_a_first_line_of_nothing_but_a_byte_order_mark_is_no_request(knobs):
    batch_of("chat", BOM + b"\n" + jsonl(line("a")), total=1)

    assert run(knobs, say).status == "completed"


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"usage":{"prompt_tokens":1' + b"0" * 30 + b',"completion_tokens":2}}',
        b'{"usage":{"prompt_tokens":-7,"completion_tokens":2}}',
    ],
    ids=["deep", "huge", "negative"],
)
def test_an_answer_that_no_counter_can_hold_is_an_answer_all_the_same(knobs, body):
    batch_of("chat", jsonl(line("a")), total=1)

    batch = run(knobs, lambda peer: say(peer, body), 2)

    assert (batch.status, batch.completed) == ("completed", 1)
    assert batch.prompt_tokens >= 0


def test_a_line_whose_answers_break_off_is_given_up_after_three_tries(knobs):
    batch_of("chat", jsonl(line("a")), total=1)
    tries = []

    def script(peer):
        tries.append(peer)
        say(peer, torn_at=10)

    knobs["FAIRLANE_BATCH_SLICE_S"] = 6.0
    batch = run(knobs, script, 2)

    assert len(tries) == 3
    assert (batch.status, batch.failed) == ("completed", 1)


def test_a_try_that_follows_a_long_one_has_a_word_that_is_good(knobs, monkeypatch):
    batch = batch_of("chat", jsonl(line("a")), total=1)
    now_s = [1000.0]
    monkeypatch.setattr("gateway.batches.asking.time.time", lambda: now_s[0])
    table = CallerTable(by_digest={bytes(batch.api_token.digest): Caller(1, "chat", "nightly")})
    ends = []

    def script(peer):
        word = peer.headers["authorization"].removeprefix("Bearer ")
        ends.append(credential.admit(word, table, Policy(1)).expires_at_s - now_s[0])
        now_s[0] += 400
        say(peer, error("upstream_5xx"), 502) if len(ends) == 1 else say(peer)

    assert run(knobs, script).status == "completed"
    assert [end > 0 for end in ends] == [True, True]


def test_a_batch_that_is_cancelled_as_a_slice_ends_with_a_long_pause_is_due_at_once(knobs, monkeypatch):
    batch = batch_of("chat", jsonl(line("a")), total=1)
    asked = Asking.run

    def run_and_cancel(asking):
        asked(asking)
        cancel_own("chat", batch.public_id)

    monkeypatch.setattr(Asking, "run", run_and_cancel)
    batch = run(knobs, lambda peer: say(peer, error("insufficient_quota"), 429))

    assert batch.status == "cancelling"
    assert batch.not_before is None or batch.not_before <= timezone.now()


def test_bytes_that_are_no_text_do_not_spoil_the_file_of_answers(knobs):
    batch = batch_of("chat", jsonl(line("a"), line("b")), total=2)
    bodies = [b'{"a":"\xff"}', GOOD]
    run(knobs, lambda peer: say(peer, bodies.pop()))

    batch.refresh_from_db()
    text = chunk(find("chat", batch.output_file_id), 0)
    assert [json.loads(row.decode())["custom_id"] for row in text.splitlines()] == ["a", "b"]


def test_a_gateway_that_does_not_know_an_api_token_in_force_is_waited_for(knobs):
    batch_of("chat", jsonl(line("a"), line("b")), total=2)
    said = [error("invalid_api_key")]

    batch = run(knobs, lambda peer: say(peer, said.pop(), 401) if said else say(peer))

    assert (batch.status, batch.completed, batch.errors) == ("completed", 2, [])


def test_an_api_token_that_has_expired_fails_the_batch(knobs):
    batch = batch_of("chat", jsonl(line("a")), total=1)
    ApiToken.objects.filter(pk=batch.api_token_id).update(expires_at=timezone.now())

    batch = run(knobs, lambda peer: say(peer, error("invalid_api_key"), 401))

    assert (batch.status, batch.errors[0]["code"]) == ("failed", "invalid_api_key")


def test_a_line_that_is_longer_than_a_body_may_be_by_now_is_asked_all_the_same(knobs):
    batch_of("chat", jsonl(line("a", user="x" * 300_000), line("b")), total=2)
    knobs["FAIRLANE_BODY_BYTES"] = 1000

    assert run(knobs, say).completed == 2
