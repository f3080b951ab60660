"""What a request's ticket and record say of its quotas."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from msgspec.structs import replace as replace_ticket

from gateway.books import Books
from gateway.callers import Caller
from gateway.endpoints import ENDPOINTS
from gateway.failures import ConnectFailed
from gateway.headers import RequestId
from gateway.jobs import Parser
from gateway.ledger import Ledger
from gateway.relay import Relay, RelayOptions
from gateway.work import Work
from scheduling.core.policy import Prices, TenantRule
from scheduling.core.prediction import Estimates
from scheduling.core.ticket import Ticket
from scheduling.core.usage import DEFAULT_COST, CostRule, Usage
from scheduling.dispatchers.memory import MemoryDispatcher
from scheduling.engines.endpoint import Endpoint
from tests.fakes.gateway import MODEL, Cast

CALLER = Caller(7, "research", "ci", quotas={"in_flight": 2})
PRICES = Prices(prompt=1_000_000, cached=100_000, completion=2_000_000)


class Written(list):
    """A journal in memory."""

    accept = end = list.append

    def __init__(self):
        self.running = {}


def work(max_tokens=50, cost=DEFAULT_COST, ledger=None, books=None, job=None):
    policy = Cast.of("research").policy()
    pools = {name: replace(rule, cost=cost) for name, rule in policy.pools.items()}
    policy = replace(policy, prices={MODEL: PRICES}, pools=pools)
    body = json.dumps({"model": MODEL, "messages": [{}], "max_tokens": max_tokens}).encode()
    chat = ENDPOINTS["/v1/chat/completions"]
    job = job or Parser(b"", Estimates(), 60).parse(chat, {}, body, CALLER, policy)
    client = SimpleNamespace(
        request_id=RequestId.of({}), tell=None, gone=True, slow=False, began=False, answered=False
    )
    dispatcher = SimpleNamespace(serves=lambda _pool, _model: True)
    one = Work()
    one.accept(job, client, books or Books(Written()), dispatcher, ledger or Ledger())
    return one


def reserve(ledger, one, **quotas):
    scopes = asyncio.run(
        ledger.scopes(TenantRule("research", quotas=quotas), replace(CALLER, quotas={}), MODEL)
    )
    one.reserve(ledger.quotas.holders(scopes))


def run(one, ledger, **quotas):
    """Have it seated and ended."""
    reserve(ledger, one, **quotas)
    lease = SimpleNamespace(
        backend="gpu-0", refund=False, engine_order=None, leave=lambda: one.usage.cost_tokens
    )
    one.ask(lease, SimpleNamespace(begin=lambda *_: None))
    one.unseat(None)
    one.end(None)


def serve(ledger, usage, **quotas):
    """A request whose engine answered this."""
    one = work(ledger=ledger)
    one.usage = usage
    run(one, ledger, **quotas)
    return one.record


def test_a_ticket_says_whose_it_is_and_has_no_start_when_its_allowance_is_here():
    one = work()
    reserve(Ledger(), one, requests_per_minute=2)
    assert (one.ticket.api_token, one.ticket.api_token_in_flight) == ("7", 2)
    assert one.ticket.not_before_ms is None


def test_every_word_of_a_ticket_is_the_jobs_or_the_callers():
    one = work()
    job, ticket = one.job, one.ticket

    assert ticket == Ticket(
        request_id=one.record.request_id,
        pool=job.terms.pool,
        model=job.terms.model,
        tenant="research",
        user="token-7",
        priority_class=job.priority_class,
        prompt_tokens=job.prompt_tokens,
        completion_tokens=job.completion_tokens,
        queued_ms=ticket.queued_ms,
        deadline_ms=ticket.queued_ms + job.wait_ms,
        streams=job.stream,
        api_token="7",
        api_token_in_flight=2,
        prefixes=job.prefixes,
        kv_completion_tokens=job.kv_completion_tokens,
    )


def test_a_parked_ticket_starts_before_its_deadline():
    ledger = Ledger()
    serve(ledger, Usage(10, 0, 40, estimated=False), tokens_per_minute=100)
    one = work(max_tokens=95, ledger=ledger)
    reserve(ledger, one, tokens_per_minute=100)
    assert one.ticket.queued_ms < one.ticket.not_before_ms < one.ticket.deadline_ms


def test_a_record_holds_the_estimated_money_until_it_knows_better():
    one = work(max_tokens=50)
    assert one.record.spend == PRICES.spend(one.ticket.prompt_tokens, 0, 50) > 100
    record = serve(Ledger(), Usage(30, 20, 5, estimated=False))
    assert record.spend == 10 + 2 + 10


def test_a_pool_with_a_discount_charges_cached_prompt_tokens_less():
    answered = {"prompt_tokens": 100, "cached_tokens": 80, "completion_tokens": 10, "estimated": False}
    dear, discounted = work(cost=CostRule(2, 5)), work(cost=CostRule(2, 5, cached_discount_percent=75))
    charged = []
    for one in (dear, discounted):
        for name, value in answered.items():
            setattr(one.usage, name, value)
        run(one, Ledger())
        charged.append(one.record.cost)

    assert charged == [2 * 100 + 5 * 10, 2 * 100 + 5 * 10 - 2 * 80 * 75 // 100]


def test_the_estimate_in_a_record_and_every_attempt_go_by_the_pools_cost_rule():
    one = work(max_tokens=50, cost=CostRule(3, 7))

    assert one.record.estimated_tokens == 3 * one.ticket.prompt_tokens + 7 * 50
    one.try_again(ConnectFailed())
    assert one.usage == Usage(rule=CostRule(3, 7))


def test_a_request_that_never_ran_spent_nothing():
    one = work()
    reserve(Ledger(), one, spend_per_month=10**6)
    one.end(asyncio.CancelledError())
    assert (one.record.spend, one.record.cost) == (0, 0)


def test_a_seat_that_is_free_at_once_is_had_at_the_acceptance_and_a_later_one_later():
    at_once, waited = work(), work()
    waited.waited()
    for one in (at_once, waited):
        run(one, Ledger())

    assert at_once.record.dispatched_at == at_once.record.accepted_at
    assert waited.record.dispatched_at > waited.record.accepted_at


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/chat/completions", {"messages": [{}], "n": 4}),
        ("/v1/completions", {"prompt": ["one", "two"], "n": 2}),
        ("/v1/completions", {"prompt": "one", "best_of": 4}),
    ],
)
def test_the_next_of_requests_for_four_answers_is_thought_to_need_what_the_last_one_did(path, asked):
    books = Books(Written())
    parser = Parser(b"", books.estimates, 60)
    policy = Cast.of("research").policy()
    body = json.dumps({"model": MODEL, **asked}).encode()
    job = parser.parse(ENDPOINTS[path], {}, body, CALLER, policy)
    one = work(job=job, books=books)
    one.usage = Usage(10, 0, 4 * 100, estimated=False)

    run(one, Ledger())
    again = parser.parse(ENDPOINTS[path], {}, body, CALLER, policy)

    assert again.completion_tokens == 400


def test_who_leaves_while_its_engine_is_still_being_connected_to_has_used_nothing():
    ledger, relay = Ledger(), Relay(RelayOptions())
    relay.set_endpoints({"gpu-0": Endpoint("gpu-0", "http://127.0.0.1:9")})
    one = work(ledger=ledger)
    reserve(ledger, one, requests_per_minute=1)
    dispatcher = MemoryDispatcher(Cast.of("research").policy(), lambda: one.ticket.queued_ms)
    lease = dispatcher.lease(replace_ticket(one.ticket, api_token_in_flight=None), one.usage)
    assert lease.at_once()
    reply = one.ask(lease, relay)
    assert not reply.is_sent

    one.end(asyncio.CancelledError())

    assert (one.record.cost, one.record.prompt_tokens, one.record.spend) == (0, 0, 0)
    reserve(ledger, work(ledger=ledger), requests_per_minute=1)


def test_a_failure_is_told_with_whose_it_is():
    one, told = work(), []
    one._dispatcher.fail = lambda *failed: told.append(failed)
    lease = SimpleNamespace(backend="gpu-0", refund=False, engine_order=None, leave=lambda: 0)
    one.ask(lease, SimpleNamespace(begin=lambda *_: None))

    one.end(ConnectFailed())

    assert told == [("gpu-0", lease)]
