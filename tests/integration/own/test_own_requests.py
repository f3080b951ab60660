"""What an owner sees and does about its own requests while they wait, run, and after they ended."""

from __future__ import annotations

import asyncio

import httpx2 as httpx
import pytest

from gateway.settings import Settings
from tests.fakes.gateway import MODEL
from tests.fakes.own_line import BODY, CAST, CHAT, SHORT, line, one_runs_one_waits, send
from tests.fakes.waiting import until


async def of(client, name, **query):
    return (await client.get(f"/v1/requests/{name}", params=query)).json()


async def test_an_owner_sees_what_waits_and_why_what_runs_and_what_has_ended():
    async with line() as (served, mine, _):
        running, waiting = await one_runs_one_waits(served, mine)
        first, second = await of(mine, "first"), await of(mine, "second")
        same = await of(mine, second["id"])
        listed = (await mine.get("/v1/requests")).json()
        await mine.post("/v1/requests/first/cancel")
        answer = await waiting
        ended = await of(mine, answer.headers["x-fairlane-request-id"])
        await running

    assert (first["state"], first["client_request_id"], "queue" in first) == ("running", "first", False)
    assert (second["state"], second["queue"]["position"], second["dispatched_at"]) == ("queued", 1, None)
    assert second["queue"]["reasons"] == [
        {
            "code": "backend_full",
            "text": "backends have as many requests in flight as they may",
            "backends": 1,
        },
    ]
    assert same == second
    assert [one["client_request_id"] for one in listed["data"]] == ["first", "second"]
    assert listed["has_more"] is False
    assert (ended["state"], ended["outcome"], ended["status"]) == ("ended", "ok", 200)
    assert ended["usage"]["completion_tokens"] == 2
    assert ended["accepted_at"] <= ended["dispatched_at"] <= ended["ended_at"]


async def test_a_long_list_is_told_in_parts():
    async with line() as (served, mine, _):
        await one_runs_one_waits(served, mine)
        send(mine, SHORT, **{"x-request-id": "third"})
        await until(lambda: [view.queued for view in served.dispatcher.view()] == [2])

        async def listed(**query):
            part = (await mine.get("/v1/requests", params=query)).json()
            return [one["client_request_id"] for one in part["data"]], part["has_more"]

        first = (await mine.get("/v1/requests", params={"limit": 1})).json()["data"][0]["id"]
        assert await listed() == (["first", "second", "third"], False)
        assert await listed(state="queued") == (["second", "third"], False)
        assert await listed(state="running") == (["first"], False)
        assert await listed(limit=2) == (["first", "second"], True)
        assert await listed(after=first) == (["second", "third"], False)


async def test_a_waiting_request_that_its_owner_cancels_leaves_the_line_at_once():
    async with line() as (served, mine, _):
        running, waiting = await one_runs_one_waits(served, mine)
        cancelled = await mine.post("/v1/requests/second/cancel")
        queued = [view.queued for view in served.dispatcher.view()]
        answer = await waiting
        again = await mine.post("/v1/requests/second/cancel")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        records = await served.settled(2)

    assert (cancelled.status_code, cancelled.json()["outcome"], queued) == (200, "cancelled_client", [0])
    assert (answer.status_code, answer.json()["error"]["code"]) == (499, "cancelled")
    assert "owner cancelled it" in answer.json()["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert again.json() == cancelled.json()
    (record,) = [one for one in records if one.outcome == "cancelled_client"]
    assert (record.status, record.cost, record.spend, record.dispatched_at) == (499, 0, 0, None)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_running_request_that_its_owner_cancels_leaves_its_engine_and_the_next_one_runs(stream):
    async with line() as (served, mine, _):
        running, waiting = await one_runs_one_waits(served, mine, stream=stream)
        if stream:
            await until(lambda: any(client.began for client in served.gateway.pulse.clients))
        cancelled = (await mine.post("/v1/requests/first/cancel")).json()
        assert (await waiting).status_code == 200
        if stream:
            with pytest.raises(httpx.RemoteProtocolError):
                await running
        else:
            answer = await running
            assert (answer.status_code, answer.json()["error"]["code"]) == (499, "cancelled")
        records = await served.settled(2)

    assert (cancelled["state"], cancelled["outcome"]) == ("ended", "cancelled_client")
    assert cancelled["status"] == (200 if stream else 499)
    assert sorted(record.outcome for record in records) == ["cancelled_client", "ok"]


async def test_a_stream_that_its_owner_cancels_ends_with_an_error_event_and_a_broken_connection():
    body = {**BODY, "stream": True}
    async with line() as (_, mine, _), mine.stream("POST", CHAT, json=body) as stream:
        heard = bytearray()

        async def cancel_and_hear_all():
            await mine.post(f"/v1/requests/{stream.headers['x-fairlane-request-id']}/cancel")
            async for data in stream.aiter_raw():
                heard.extend(data)

        with pytest.raises(httpx.RemoteProtocolError):
            await cancel_and_hear_all()

    assert heard.endswith(b"\n\n")
    assert b'"code":"cancelled"' in heard.rpartition(b"data: ")[2]
    assert b"[DONE]" not in heard


async def test_what_has_ended_is_not_ended_again():
    async with line(time_scale=50) as (served, mine, _):
        answer = await mine.post(CHAT, json=SHORT)
        name = answer.headers["x-fairlane-request-id"]
        cancelled = (await mine.post(f"/v1/requests/{name}/cancel")).json()
        records = await served.settled(1)

    assert (cancelled["state"], cancelled["outcome"]) == ("ended", "ok")
    assert [record.outcome for record in records] == ["ok"]


async def test_of_two_requests_with_one_id_the_last_is_meant():
    async with line(time_scale=50) as (_, mine, _):
        for body in (SHORT, {**SHORT, "max_tokens": 3}):
            await mine.post(CHAT, json=body, headers={"x-request-id": "same"})
        found = await of(mine, "same")

    assert found["usage"]["completion_tokens"] == 3


async def test_a_queue_tells_the_tenants_own_lines_by_model_and_how_a_new_request_would_wait():
    async with line() as (served, mine, theirs):
        running, waiting = await one_runs_one_waits(served, mine)
        own = (await mine.get("/v1/queue")).json()["pools"]
        other = (await theirs.get("/v1/queue")).json()["pools"]
        asked = (await theirs.get("/v1/queue", params={"model": MODEL})).json()["pools"]
        unknown = await theirs.get("/v1/queue", params={"model": "gpt-7"})
        for task in (running, waiting):
            task.cancel()

    assert [(pool["queued_requests"], pool["in_flight_requests"]) for pool in own] == [(1, 1)]
    (model,) = own[0]["models"]
    assert (model["model"], model["queued_requests"], model["available"]) == (MODEL, 1, True)
    assert own[0]["oldest_wait_ms"] >= model["oldest_wait_ms"] >= 0
    assert {one["class"]: one["position"] for one in model["new_request"]} == {
        "interactive": 1,
        "standard": 2,
        "batch": 2,
    }
    assert [(pool["queued_requests"], pool["models"]) for pool in other] == [(0, [])]
    assert [one["position"] for one in asked[0]["models"][0]["new_request"]] == [1, 2, 2]
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


async def test_an_owner_is_told_no_class_above_its_api_tokens_ceiling():
    async with line(callers=CAST.callers(class_ceiling="standard")) as (_, mine, _):
        pools = (await mine.get("/v1/queue")).json()["pools"]
        limits = (await mine.get("/v1/limits")).json()

    assert [one["class"] for one in pools[0]["new_request"]] == ["standard", "batch"]
    assert (limits["classes"], limits["class_ceiling"]) == (["standard", "batch"], "standard")


async def test_the_default_class_that_an_owner_is_told_is_the_one_in_force():
    async with line(callers=CAST.callers(class_ceiling="batch")) as (_, mine, _):
        limits = (await mine.get("/v1/limits")).json()
        answer = await mine.post(CHAT, json=BODY)

    assert limits["default_class"] == answer.headers["x-priority-class"] == "batch"


async def test_limits_tell_what_is_left_of_each_quota():
    quotas = {
        "requests_per_minute": 60,
        "tokens_per_minute": 6000,
        "in_flight": 4,
        "queued": 9,
        "tokens_per_day": 0,
    }
    async with line(quotas={**quotas, "tokens_per_day": 10_000}, refusing=["requests_per_minute"]) as (
        served, mine, theirs,
    ):  # fmt: skip
        fresh = (await theirs.get("/v1/limits")).json()
        await one_runs_one_waits(served, mine)
        limits = (await mine.get("/v1/limits")).json()

    def told(found, name):
        return {one["kind"]: one[name] for one in found["quotas"]}

    assert {(one["of"], one["model"]) for one in limits["quotas"]} == {("tenant", None)}
    assert told(limits, "limit") == {**quotas, "tokens_per_day": 10_000}
    assert told(fresh, "used") == dict.fromkeys(quotas, 0)
    used = told(limits, "used")
    assert (used["requests_per_minute"], used["in_flight"], used["queued"]) == (2, 1, 1)
    assert used["tokens_per_day"] > used["tokens_per_minute"] - 10 > 0  # a minute's come back all the time
    assert told(limits, "remaining")["requests_per_minute"] == 58
    assert 0 < told(limits, "reset_s")["requests_per_minute"] <= 2
    assert 0 < told(limits, "reset_s")["tokens_per_day"] <= 86_400
    assert told(limits, "reset_s")["in_flight"] is None
    assert limits["quotas"][0]["when_exhausted"] == "refuse"
    assert (limits["max_body_bytes"], limits["queue_timeout_s"]) == (10 * 1024 * 1024, 600)


async def test_polling_has_a_bound_of_its_own_for_each_api_token():
    async with line(settings=Settings(status_per_s=3)) as (_, mine, theirs):
        answers = [await mine.get("/v1/requests") for _ in range(4)]
        others = await theirs.get("/v1/queue")
        good = await mine.get("/v1/models")

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    refused = answers[-1]
    assert refused.json()["error"]["code"] == "asked_too_often"
    assert int(refused.headers["retry-after"]) == 1
    assert (others.status_code, good.status_code) == (200, 200)


async def test_an_owner_looks_and_cancels_where_no_more_requests_are_taken():
    async with line(settings=Settings(max_requests=1)) as (served, mine, _):
        running = send(mine, BODY, **{"x-request-id": "first"})
        await until(lambda: [view.in_flight for view in served.dispatcher.view()] == [1])
        refused = await mine.post(CHAT, json=SHORT)
        cancelled = await mine.post("/v1/requests/first/cancel")
        await running

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert cancelled.json()["outcome"] == "cancelled_client"


WRONG = [
    ("POST", "/v1/requests", 405, "method_not_allowed"),
    ("GET", "/v1/requests/x/cancel", 405, "method_not_allowed"),
    ("DELETE", "/v1/requests/x", 405, "method_not_allowed"),
    ("GET", "/v1/requests/x/y", 404, "unknown_url"),
    ("POST", "/v1/requests//cancel", 404, "unknown_url"),
    ("GET", "/v1/requests/%00", 404, "request_not_found"),
    ("GET", "/v1/requests/" + "x" * 129, 404, "request_not_found"),
    ("GET", "/v1/requests?limit=0", 400, "invalid_request"),
    ("GET", "/v1/requests?limit=1e3", 400, "invalid_request"),
    ("GET", "/v1/requests?limit=1&limit=2", 400, "invalid_request"),
    ("GET", "/v1/requests?state=ended", 400, "invalid_request"),
    ("GET", "/v1/requests?tenant=chat", 400, "invalid_request"),
    ("GET", "/v1/queue/main", 404, "unknown_url"),
    ("POST", "/v1/queue", 405, "method_not_allowed"),
    ("GET", "/v1/limits/x", 404, "unknown_url"),
    ("GET", "/v1/limits?x=1", 400, "invalid_request"),
    ("GET", "/v1/usage/x", 404, "unknown_url"),
    ("PUT", "/v1/usage", 405, "method_not_allowed"),
    ("GET", "/v1/usage?grain=week", 400, "invalid_request"),
    ("GET", "/v1/usage?since=yesterday", 400, "invalid_request"),
    ("GET", "/v1/usage?since=2027-01-31T12:00:00", 400, "invalid_request"),
    ("GET", "/v1/usage?since=99999999999999999999", 400, "invalid_request"),
    ("GET", "/v1/usage?since=1700000000&until=1600000000", 400, "invalid_request"),
    ("GET", "/v1/usage?since=1600000000&until=1700000000&grain=minute", 400, "invalid_request"),
    ("GET", "/v1/usage?since=%ff", 400, "invalid_request"),
    ("GET", "/v1/usage?model=a%00b", 400, "invalid_request"),
    ("GET", "/v1/usage?" + "x" * 3000, 400, "invalid_request"),
]  # fmt: skip


async def test_what_cannot_be_right_is_refused_by_name():
    async with line(settings=Settings(status_per_s=1000)) as (_, mine, _):
        answers = [await mine.request(method, path) for method, path, _, _ in WRONG]

    found = [(answer.status_code, answer.json()["error"]["code"]) for answer in answers]
    assert found == [(status, code) for _, _, status, code in WRONG]
