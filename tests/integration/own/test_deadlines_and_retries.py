"""A client's deadline and its retries, as the gateway hears of them on the wire."""

from __future__ import annotations

from gateway.own import retries
from gateway.settings import Settings
from tests.fakes.own_line import CHAT, SHORT, line, one_runs_one_waits, send


async def test_a_request_leaves_the_line_at_its_clients_own_deadline():
    async with line() as (served, mine, _):
        running, _ = await one_runs_one_waits(served, mine)
        by_header = send(mine, SHORT, **{"x-request-timeout": "0.2"})
        by_body = send(mine, {**SHORT, "timeout_ms": 200})
        answers = [await by_header, await by_body]
        running.cancel()

    for answer in answers:
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "queue_timeout")
        assert int(answer.headers["retry-after"]) >= 1


async def test_a_seat_goes_to_the_next_when_its_request_would_come_too_late():
    async with line() as (served, mine, _):
        served.gateway.books.first_tokens._best_s["demo-8b"] = 5.0
        hopeless = await mine.post(CHAT, json={**SHORT, "timeout_ms": 3000})
        patient = await mine.post(CHAT, json=SHORT)
        records = await served.settled(2)

    assert (hopeless.status_code, hopeless.json()["error"]["code"]) == (503, "queue_timeout")
    assert "needs 5000 ms" in hopeless.json()["error"]["message"]
    assert "was not sent to an engine" in hopeless.json()["error"]["message"]
    assert patient.status_code == 200
    late = records[0]
    assert (late.outcome, late.dispatched_at, late.backend, late.cost) == ("queue_timeout", None, "", 0)


async def test_retries_beyond_the_budget_are_refused_before_their_body_is_read(monkeypatch):
    monkeypatch.setattr(retries, "WINDOW_S", -1.0)  # as if the gateway had served for a minute
    again = {"x-stainless-retry-count": "1"}
    async with line(time_scale=50, settings=Settings(retry_floor=2)) as (served, mine, theirs):
        answers = [await mine.post(CHAT, json=SHORT, headers=again) for _ in range(3)]
        others = await theirs.post(CHAT, json=SHORT, headers=again)
        first = await mine.post(CHAT, json=SHORT)
        records = await served.settled(4)
        page = (await mine.get(f"{served.url}/metrics")).text

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    refused = answers[-1]
    assert refused.json()["error"]["code"] == "retry_budget_exhausted"
    assert 20 <= int(refused.headers["retry-after"]) <= 60
    assert (others.status_code, first.status_code, len(records)) == (200, 200, 4)
    assert 'fairlane_retry_budget_total{verdict="refused"} 1.0' in page
    assert 'fairlane_rejected_total{reason="retry_budget_exhausted"} 1.0' in page
