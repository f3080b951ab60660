"""A request with an Idempotency-Key runs once, and its answer is told again to whoever asks again."""

from __future__ import annotations

import asyncio

import httpx2 as httpx

from gateway.settings import Settings
from tests.fakes.own_line import CHAT, SHORT, line, one_runs_one_waits, send
from tests.fakes.waiting import until

KEY = {"idempotency-key": "order-7"}


async def test_an_answer_is_told_again_without_a_second_run():
    async with line(time_scale=50) as (served, mine, _):
        first = await mine.post(CHAT, json=SHORT, headers=KEY)
        second = await mine.post(CHAT, json=SHORT, headers=KEY)
        other = await mine.post(CHAT, json=SHORT, headers={"idempotency-key": "order-8"})
        records = await served.settled(2)

    assert (second.status_code, second.content) == (200, first.content)
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["x-fairlane-original-request-id"] == first.headers["x-fairlane-request-id"]
    assert second.headers["x-fairlane-request-id"] != first.headers["x-fairlane-request-id"]
    assert not {"idempotent-replayed", "x-fairlane-original-request-id"} & set(other.headers)
    assert len(records) == 2, "the answer that was told again cost nothing"


async def test_one_key_means_one_body_one_path_and_one_api_token():
    async with line(time_scale=50) as (served, mine, theirs):
        await mine.post(CHAT, json=SHORT, headers=KEY)
        changed = await mine.post(CHAT, json={**SHORT, "max_tokens": 3}, headers=KEY)
        text = {"model": SHORT["model"], "prompt": "x"}
        elsewhere = await mine.post("/v1/completions", json=text, headers=KEY)
        others = await theirs.post(CHAT, json=SHORT, headers=KEY)
        records = await served.settled(2)

    for refused in (changed, elsewhere):
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "idempotency_mismatch")
        assert refused.headers["x-should-retry"] == "false"
    assert others.status_code == 200
    assert {record.tenant for record in records} == {"research", "chat"}


async def test_while_the_first_one_waits_the_second_is_told_to_ask_again():
    async with line() as (served, mine, _):
        running, _ = await one_runs_one_waits(served, mine)
        first = send(mine, SHORT, **KEY)
        await until(lambda: [view.queued for view in served.dispatcher.view()] == [2])
        early = await mine.post(CHAT, json=SHORT, headers=KEY)
        changed = await mine.post(CHAT, json={**SHORT, "max_tokens": 3}, headers=KEY)
        await mine.post("/v1/requests/first/cancel")
        await running
        answer = await first
        late = await mine.post(CHAT, json=SHORT, headers=KEY)

    assert (early.status_code, early.json()["error"]["code"]) == (409, "idempotency_in_progress")
    assert int(early.headers["retry-after"]) >= 2
    assert changed.status_code == 422
    assert late.content == answer.content


async def test_a_stream_is_run_once_and_not_told_again():
    body = {**SHORT, "stream": True}
    async with line(time_scale=50) as (served, mine, _):
        first = await mine.post(CHAT, json=body, headers=KEY)
        second = await mine.post(CHAT, json=body, headers=KEY)
        records = await served.settled(1)

    assert first.text.endswith("data: [DONE]\n\n")
    assert (second.status_code, second.json()["error"]["code"]) == (409, "idempotency_spent")
    assert second.headers["x-should-retry"] == "false"
    assert len(records) == 1


async def test_a_run_that_failed_frees_its_key():
    async with line() as (served, mine, _):
        first = send(mine, {**SHORT, "max_tokens": 400}, **KEY)
        await until(lambda: [view.in_flight for view in served.dispatcher.view()] == [1])
        name = (await mine.get("/v1/requests")).json()["data"][0]["id"]
        await mine.post(f"/v1/requests/{name}/cancel")
        cancelled = await first
        again = await mine.post(CHAT, json=SHORT, headers=KEY)

    assert cancelled.status_code == 499
    assert (again.status_code, "idempotent-replayed" in again.headers) == (200, False)


async def test_a_client_that_leaves_frees_its_key():
    async with line() as (served, mine, _):
        first = send(mine, {**SHORT, "max_tokens": 400}, **KEY)
        await until(lambda: [view.in_flight for view in served.dispatcher.view()] == [1])
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await until(lambda: [view.in_flight for view in served.dispatcher.view()] == [0])
        again = await mine.post(CHAT, json=SHORT, headers=KEY)

    assert (again.status_code, "idempotent-replayed" in again.headers) == (200, False)


async def test_what_the_engine_refused_it_refuses_again_without_being_asked():
    body = {**SHORT, "max_tokens": 900_000}
    async with line(time_scale=50) as (served, mine, _):
        first = await mine.post(CHAT, json=body, headers=KEY)
        second = await mine.post(CHAT, json=body, headers=KEY)
        records = await served.settled(1)

    assert (first.status_code, second.status_code) == (400, 400)
    assert second.content == first.content
    assert second.headers["idempotent-replayed"] == "true"
    assert [record.outcome for record in records] == ["upstream_4xx"]


async def test_a_key_that_cannot_be_one_is_refused_by_name():
    bad = [httpx.Headers([(b"idempotency-key", key)]) for key in (b"", b"x" * 256, b"caf\xe9")]
    async with line() as (_, mine, _):
        answers = [await mine.post(CHAT, json=SHORT, headers=headers) for headers in bad]

    assert [(one.status_code, one.json()["error"]["param"]) for one in answers] == [
        (400, "Idempotency-Key")
    ] * 3


async def test_the_oldest_answer_goes_when_there_are_too_many():
    async with line(time_scale=50, settings=Settings(idempotency_entries=2)) as (_, mine, _):
        for name in ("a", "b", "c"):
            await mine.post(CHAT, json=SHORT, headers={"idempotency-key": name})
        again = [
            "idempotent-replayed"
            in (await mine.post(CHAT, json=SHORT, headers={"idempotency-key": name})).headers
            for name in ("c", "b", "a")
        ]

    assert again == [True, True, False]
