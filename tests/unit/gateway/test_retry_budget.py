"""Retries are a part of a tenant's requests, and a storm of them leaves the work to be done (fault F26)."""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass, field

import pytest

from gateway.headers import RequestId, refusal_headers
from gateway.own.errors import RetryBudgetExhausted
from gateway.own.retries import LONGEST_MS, WINDOW_S, Retries, retry_count

FIRST: dict[bytes, bytes] = {}
BEGIN_S = 1000.0


def retry(count=1):
    return {b"x-stainless-retry-count": str(count).encode()}


class Clock:
    def __init__(self):
        self.now_s = BEGIN_S

    def __call__(self):
        return self.now_s


def settled(ratio=0.2, floor=10):
    """A budget of a gateway that has served for a while."""
    clock = Clock()
    budget = Retries(ratio, floor, clock)
    clock.now_s += WINDOW_S
    return budget, clock


def let_in(budget, tenant, headers, times):
    """How many of so many are let in."""
    count = 0
    for _ in range(times):
        try:
            budget.check(tenant, retry_count(headers))
        except RetryBudgetExhausted:
            continue
        count += 1
    return count


def test_retries_may_be_a_fifth_of_the_requests_of_a_minute_and_ten_besides():
    budget, _ = settled()

    assert let_in(budget, "chat", FIRST, 100) == 100
    assert let_in(budget, "chat", retry(), 100) == 30
    assert budget.verdicts == {"admitted": 30, "refused": 70}


def test_a_tenant_that_sends_little_may_retry_a_little():
    assert let_in(settled()[0], "chat", retry(), 30) == 10
    assert let_in(settled(ratio=0, floor=0)[0], "chat", retry(), 30) == 0


def test_first_tries_are_never_refused_and_one_tenants_storm_is_its_own():
    budget, _ = settled()
    let_in(budget, "chat", retry(), 50)

    assert let_in(budget, "chat", FIRST, 50) == 50
    assert let_in(budget, "research", retry(), 5) == 5


def test_a_minute_later_all_is_forgotten_and_not_before():
    budget, clock = settled()
    let_in(budget, "chat", retry(), 10)

    clock.now_s += WINDOW_S - 11
    assert let_in(budget, "chat", retry(), 10) == 0
    clock.now_s += 11
    assert let_in(budget, "chat", retry(), 30) == 10
    clock.now_s += 100 * WINDOW_S
    assert let_in(budget, "chat", retry(), 30) == 10


def test_after_a_restart_clients_come_back_without_being_counted_for_a_minute():
    clock = Clock()
    budget = Retries(0.2, 10, clock)

    assert let_in(budget, "chat", retry(), 500) == 500
    clock.now_s += WINDOW_S
    assert let_in(budget, "chat", retry(), 500) == 10


@pytest.mark.parametrize("count", [b"", b"0", b"-1", b"1.5", b"one", b"9" * 20, b"\xb2"])
def test_what_is_no_count_of_retries_is_a_first_try(count):
    budget, _ = settled(floor=0)

    assert let_in(budget, "chat", {b"x-stainless-retry-count": count}, 3) == 3


@pytest.mark.parametrize(("count", "wait_ms"), [(1, 20_000), (2, 40_000), (3, LONGEST_MS), (99, LONGEST_MS)])
def test_the_more_often_it_was_tried_the_longer_it_is_to_wait_and_no_sdk_finds_it_too_long(count, wait_ms):
    budget, _ = settled(floor=0)

    with pytest.raises(RetryBudgetExhausted) as refused:
        budget.check("chat", retry_count(retry(count)))

    assert refused.value.retry_after_ms == wait_ms
    told = dict(refusal_headers(refused.value, RequestId.of({})))
    assert wait_ms <= int(told[b"retry-after-ms"]) <= 60_000
    assert told[b"x-should-retry"] == b"true"


# A storm in pretend time: 200 clients with an SDK's retries, and a gateway that does one thing at a time.

CLIENTS = 200
SEATS = 16
ANSWER_S = 0.8  # so 20 requests a second can be served
IN_LINE = 20
READ_S = 0.006  # of the gateway's time, to read a long prompt and put it in line, or to find the line full
GLANCE_S = 0.0002  # to refuse by a header
RELAY_S = 0.010  # to pass an answer on
SDK_RETRIES = 2
STORM_S = 120.0
ANSWERED = -1


@dataclass
class Storm:
    """Who finds the line full comes again soon, whatever the answer says: the worst of clients."""

    budget: Retries
    clock: Clock
    running: int = 0
    served: int = 0
    free_at_s: float = 0.0
    waiting: deque[int] = field(default_factory=deque)
    events: list[tuple[float, int, int]] = field(default_factory=list)  # when, whose, how often tried
    dice: random.Random = field(default_factory=lambda: random.Random(7))

    def goodput(self) -> float:
        """What was served of what could have been."""
        begin_s = self.clock.now_s
        for client in range(CLIENTS):
            heapq.heappush(self.events, (begin_s + self.dice.random(), client, 0))
        while self.events[0][0] < begin_s + STORM_S:
            at_s, client, tries = heapq.heappop(self.events)
            self.clock.now_s = max(at_s, self.free_at_s)
            if tries == ANSWERED:
                self.relay(client)
            else:
                self.read(client, tries)
        return self.served / (STORM_S * SEATS / ANSWER_S)

    def relay(self, client: int) -> None:
        self.spend(RELAY_S)
        self.served += 1
        self.running -= 1
        self.seat()
        self.later(0.0, client, 0)

    def read(self, client: int, tries: int) -> None:
        try:
            self.budget.check("chat", retry_count(retry(tries) if tries else FIRST))
        except RetryBudgetExhausted:
            self.spend(GLANCE_S)
            self.again(client, tries)
            return
        self.spend(READ_S)
        if len(self.waiting) < IN_LINE:
            self.waiting.append(client)
            self.seat()
        else:
            self.again(client, tries)

    def seat(self) -> None:
        while self.waiting and self.running < SEATS:
            self.running += 1
            self.later(ANSWER_S, self.waiting.popleft(), ANSWERED)

    def again(self, client: int, tries: int) -> None:
        pause_s = 0.5 * 2**tries * self.dice.uniform(0.75, 1)
        self.later(pause_s, client, tries + 1 if tries < SDK_RETRIES else 0)

    def spend(self, span_s: float) -> None:
        self.free_at_s = self.clock.now_s + span_s

    def later(self, span_s: float, client: int, tries: int) -> None:
        heapq.heappush(self.events, (self.free_at_s + span_s, client, tries))


def test_a_storm_of_200_clients_leaves_nine_tenths_of_the_work_done():
    assert Storm(*settled()).goodput() >= 0.9


def test_without_a_budget_the_same_storm_takes_a_quarter_of_it():
    assert Storm(*settled(ratio=1e9)).goodput() < 0.75
