"""What a gateway remembers of its consumers: bounded, forgotten in time, and none of one's for another."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.books import MOST_FRESH, Books
from gateway.callers import Caller
from gateway.classes import classes_for
from gateway.headers import RequestId
from gateway.journal import Journal
from gateway.own.errors import AskedTooOften, IdempotencyMismatch
from gateway.own.idempotency import ENTRY_BYTES, Idempotency, Keyed
from gateway.own.shown import TEXTS, explained
from gateway.own.status_rate import TIDY_AT, StatusRate
from gateway.pulse import Pulse
from gateway.records import Record
from gateway.settings import Settings
from scheduling.core import explain
from scheduling.core.view import Explanation, Reason
from tests.fakes.gateway import Cast


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


class Guest(SimpleNamespace):
    __hash__ = object.__hash__


def client(**headers):
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Guest(request_id=RequestId.of(named), ended=False, keep=None, evict=lambda why: True)


def record(name, **others):
    return Record(name, 1.0, "chat", "demo", "standard", "/v1/completions", stream=False, **others)


@pytest.fixture
def books(tmp_path):
    return Books(Journal(tmp_path, lambda records: None, every_s=60))


# How often one may look


def test_a_seconds_worth_of_looks_may_come_at_once_and_then_one_at_a_time():
    clock = Clock()
    rate = StatusRate(4, clock)
    for _ in range(4):
        rate.ask(1)

    with pytest.raises(AskedTooOften, match="4 times a second") as refused:
        rate.ask(1)
    assert refused.value.retry_after_ms == pytest.approx(250, abs=2)
    rate.ask(2)
    clock.now_s += 0.25
    rate.ask(1)
    with pytest.raises(AskedTooOften):
        rate.ask(1)


def test_one_look_in_ten_seconds_is_possible_too():
    clock = Clock()
    rate = StatusRate(0.1, clock)
    rate.ask(1)
    clock.now_s += 9
    with pytest.raises(AskedTooOften):
        rate.ask(1)
    clock.now_s += 1
    rate.ask(1)


def test_api_tokens_that_have_not_looked_for_long_are_forgotten():
    clock = Clock()
    rate = StatusRate(20, clock)
    for token_id in range(TIDY_AT):
        rate.ask(token_id)
    clock.now_s += 10
    rate.ask(-1)

    assert len(rate._whole_at_s) == 1


# What goes on, and what has ended


def test_only_so_many_ended_requests_are_remembered(monkeypatch, books):
    monkeypatch.setattr("gateway.books.REMEMBERED", 10)
    for n in range(3 * MOST_FRESH):
        one = record(f"req-{n}")
        books.accept(one)
        books.end(one)

    remembered = [n for n in range(3 * MOST_FRESH) if books.going.find("chat", f"req-{n}")]
    assert 10 <= len(remembered) <= 10 + MOST_FRESH
    assert remembered[-1] == 3 * MOST_FRESH - 1
    assert books.going.of("chat") == []


def test_what_goes_on_is_found_before_what_has_ended_under_the_same_name(books):
    first, second = record("req-0", client_request_id="mine"), record("req-1", client_request_id="mine")
    books.accept(first)
    books.accept(second)
    assert books.going.of("chat") == [first, second]
    assert books.going.find("chat", "mine") is second, "the last that came"
    books.end(second)

    assert books.going.find("chat", "mine") is first
    books.end(first)
    assert books.going.find("chat", "mine") is first, "the last to end"
    assert books.going.find("chat", "req-1") is second
    assert books.going.find("research", "mine") is books.going.find("research", "req-0") is None


def test_our_own_id_is_found_before_another_requests_that_its_client_calls_so(books):
    ours, theirs = record("req-0"), record("req-1", client_request_id="req-0")
    for one in (ours, theirs):
        books.accept(one)

    assert books.going.find("chat", "req-0") is ours


def test_a_request_whose_last_bytes_are_out_is_not_cancelled():
    pulse, leaving = Pulse(Settings()), client()
    leaving.record = record("req-0")
    pulse.clients.add(leaving)
    assert not pulse.cancel(record("req-0"))
    assert pulse.cancel(leaving.record)
    leaving.ended = True
    assert not pulse.cancel(leaving.record)


def test_what_ended_is_counted_when_somebody_asks_and_counted_once(books):
    for n in range(MOST_FRESH + 2):
        one = record(f"req-{n}", outcome="ok")
        books.accept(one)
        books.end(one)

    for _ in range(2):
        assert books.metrics.requests == {("demo", "standard", "ok"): MOST_FRESH + 2}


# Idempotency keys


def keyed(key="a", tenant="chat", token_id=1, body=b"{}"):
    return Keyed(tenant, token_id, key.encode(), "/v1/completions", body)


def ask(kept, one, answer=b"answer"):
    """Whether it ran. ``answer`` None is a stream."""
    who, ran = client(), []

    async def run():
        ran.append(one)
        if answer is not None:
            who.keep(200, [], answer)

    async def whole(status, headers, body):
        assert body == answer

    who.whole = whole
    asyncio.run(kept.once(one, who, run))
    return bool(ran)


def test_a_key_is_remembered_for_its_time_and_no_longer():
    clock = Clock()
    kept = Idempotency(60, 10, 10**6, clock)
    assert [ask(kept, keyed()), ask(kept, keyed())] == [True, False]

    clock.now_s += 60
    kept.tidy()
    assert (kept.total.entries, kept.total.size_bytes) == (0, 0)
    assert ask(kept, keyed())


def test_a_key_that_is_too_old_is_not_believed_before_anybody_tidies():
    clock = Clock()
    kept = Idempotency(60, 10, 10**6, clock)
    ask(kept, keyed())
    clock.now_s += 60

    assert ask(kept, keyed(body=b"[]"))
    with pytest.raises(IdempotencyMismatch):
        ask(kept, keyed())


def test_a_tenant_with_many_keys_makes_its_own_be_forgotten_and_no_others():
    kept = Idempotency(60, 5, 10**6)
    ask(kept, keyed("quiet", "research", 2))
    for n in range(20):
        ask(kept, keyed(str(n)))

    assert kept.total.entries == 5
    assert not ask(kept, keyed("quiet", "research", 2))
    assert [ask(kept, keyed(str(n))) for n in (19, 16)] == [False, False]
    assert ask(kept, keyed("15"))


def test_answers_have_a_bound_of_memory():
    kept = Idempotency(60, 100, 3 * (ENTRY_BYTES + 1000))
    for n in range(9):
        ask(kept, keyed(str(n)), b"x" * 1000)

    assert (kept.total.entries, kept.total.size_bytes) == (3, 3 * (ENTRY_BYTES + 1000))
    assert ask(kept, keyed("big"), b"x" * 10**5), "it does not fit at all"
    assert ask(kept, keyed("big"), b"x" * 10**5)
    assert kept.total.entries == 0


def test_an_answer_that_was_whole_is_kept_though_its_client_left_while_it_was_told():
    kept, who = Idempotency(60, 10, 10**6), client()

    async def run():
        who.keep(200, [], b"answer")
        raise asyncio.CancelledError

    async def leave():
        with pytest.raises(asyncio.CancelledError):
            await kept.once(keyed(), who, run)

    asyncio.run(leave())
    assert not ask(kept, keyed())


# What is shown


def test_every_reason_of_the_machine_has_words_for_consumers():
    source = Path(explain.__file__).read_text(encoding="utf-8")
    codes = set(re.findall(r'Reason\(\s*"(\w+)"', source)) | {
        f"backend_{name}" for name in explain.BACKEND_TEXTS
    }

    assert codes == set(TEXTS)


def test_a_consumer_hears_each_cause_once_and_no_backends_or_tenants_name():
    told = explained(
        Explanation(
            "req-0",
            3,
            4200,
            None,
            (
                Reason("backend_full", "backend gpu-0 has as many requests in flight as it may (8)"),
                Reason("backend_window", "backend gpu-1 still owes 3 first tokens"),
                Reason("backend_full", "backend gpu-2 has as many requests in flight as it may (8)"),
                Reason("share", "2 other tenants wait in class standard"),
            ),
        )
    )

    assert (told["position"], told["wait_s"], told["error_s"]) == (3, 4.2, None)
    assert [(one["code"], one.get("backends")) for one in told["reasons"]] == [
        ("backend_full", 2),
        ("backend_window", 1),
        ("share", None),
    ]
    assert "gpu" not in str(told)


def test_a_caller_may_use_the_classes_up_to_its_ceiling():
    policy = Cast.of("chat").policy()

    assert classes_for(Caller(1, "chat", "ci"), policy) == ["interactive", "standard", "batch"]
    assert classes_for(Caller(1, "chat", "ci", class_ceiling="batch"), policy) == ["batch"]
