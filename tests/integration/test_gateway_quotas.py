"""Reserve, settle and give back, by requests that all come at once."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx2 as httpx
import pytest

from gateway.ledger import Ledger
from tests.fakes.engine import running_engine
from tests.fakes.gateway import MODEL, Cast, running_gateway

CAST = Cast.of("research")
AUTH = {"authorization": f"Bearer {CAST.secrets['research']}"}
CHAT = "/v1/chat/completions"
LIMIT = 1000  # tokens per minute
AT_ONCE = 50


@dataclass
class Minute:
    """A gateway whose tenant has LIMIT tokens a minute, and what its ledger thought of each request."""

    client: httpx.AsyncClient
    served: object
    thought: dict[str, int]
    began: float = field(default_factory=time.monotonic)

    async def ask(self, number: int = 0, **more) -> httpx.Response:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "stream": number % 2 == 0}
        return await self.client.post(CHAT, json=body | more)

    async def ask_all(self, **more) -> tuple[list[httpx.Response], list]:
        answers = await asyncio.gather(*(self.ask(number, **more) for number in range(AT_ONCE)))
        return answers, await self.served.settled(AT_ONCE)

    @property
    def refilled(self) -> float:
        return LIMIT * (time.monotonic() - self.began) / 60 + 1


@asynccontextmanager
async def minute(monkeypatch, answers: int, **engine):
    """``answers``: how many tokens an answer is thought to have."""
    thought = {}
    reserve = Ledger.reserve

    def witnessed(self, scopes, ticket, record):
        thought[ticket.request_id] = ticket.prompt_tokens + ticket.completion_tokens
        return reserve(self, scopes, ticket, record)

    monkeypatch.setattr(Ledger, "reserve", witnessed)
    policy = CAST.policy(
        quotas={"tokens_per_minute": LIMIT}, refusing=["tokens_per_minute"], max_in_flight=AT_ONCE
    )
    async with (
        running_engine(model=MODEL, time_scale=50, max_num_seqs=AT_ONCE, **engine) as sim,
        running_gateway(policy, CAST.callers(), {"gpu-0": sim.url}) as served,
        httpx.AsyncClient(base_url=served.url, headers=AUTH, timeout=10) as client,
    ):
        served.gateway.books.estimates.learn("research", MODEL, "main", answers)
        yield Minute(client, served, thought)


def used_by(records) -> dict[str, int]:
    return {
        row.request_id: row.prompt_tokens + row.completion_tokens for row in records if row.outcome == "ok"
    }


@pytest.mark.parametrize("answers", [8, 60])
async def test_what_fifty_at_once_use_passes_the_limit_by_no_more_than_their_estimates_are_wrong(
    monkeypatch, answers
):
    async with minute(monkeypatch, answers) as now:
        _, records = await now.ask_all(max_tokens=60)
        used, refilled = used_by(records), now.refilled
    wrong = sum(max(0, tokens - now.thought[name]) for name, tokens in used.items())
    assert sum(used.values()) <= LIMIT + wrong + refilled
    assert sum(used.values()) > LIMIT / 2, "the limit was worth asking for"
    assert (wrong > 0) == (answers < 60)


async def test_refused_requests_use_nothing_and_what_was_not_used_comes_back(monkeypatch):
    async with minute(monkeypatch, 250, eos=10.0) as now:
        answers, records = await now.ask_all()
        used = used_by(records)
        refused = [answer for answer in answers if answer.status_code == 429]
        after = await now.ask()
        left = int(after.headers["x-ratelimit-remaining-tokens"])
        asked = now.thought[after.headers["x-fairlane-request-id"]]
    assert len(used) >= LIMIT // max(now.thought.values())
    assert len(refused) == AT_ONCE - len(used) > 0
    assert {(row.cost, row.spend) for row in records if row.outcome == "quota"} == {(0, 0)}
    exact = LIMIT - sum(used.values()) - asked
    assert exact <= left <= exact + now.refilled
