"""No route lets a tenant see or touch what is another's: every route, every id, every state (fault F46)."""

from __future__ import annotations

import itertools

import pytest

from gateway.asides import ASIDES
from gateway.settings import Settings
from tests.fakes.own_line import BODY, CHAT, SHORT, line, one_runs_one_waits

BY_ID = [("GET", "/v1/requests/{}"), ("POST", "/v1/requests/{}/cancel")]
WHOLE = ["/v1/queue", "/v1/requests", "/v1/limits", f"/v1/queue?model={BODY['model']}"]
EVERYBODYS = {"models", "responses", "files", "batches"}  # without a tenant, or with a matrix of their own
QUICK = Settings(status_per_s=1000)


def test_every_route_of_owners_is_in_the_matrix():
    routes = [path for _, path in BY_ID] + WHOLE + ["/v1/usage"]

    assert {path.split("/")[2].partition("?")[0] for path in routes} >= set(ASIDES) - EVERYBODYS


async def test_anothers_request_is_as_unknown_as_none_whatever_it_does():
    async with line(settings=QUICK) as (served, mine, theirs):
        ended = await mine.post(CHAT, json=SHORT, headers={"x-request-id": "zeroth"})
        running, waiting = await one_runs_one_waits(served, mine)
        own = [one["id"] for one in (await mine.get("/v1/requests")).json()["data"]]
        names = ["zeroth", "first", "second", ended.headers["x-fairlane-request-id"], *own]
        served.gateway.own.reads.run = nothing_is_stored

        unknown = {route: await said(theirs, *route, "nobody") for route in BY_ID}
        found = [
            (name, await said(theirs, *route, name) == unknown[route])
            for route, name in itertools.product(BY_ID, names)
        ]
        states = [(await mine.get(f"/v1/requests/{name}")).json()["state"] for name in names[:3]]
        for task in (running, waiting):
            task.cancel()

    assert {status for status, _ in unknown.values()} == {404}
    assert len(found) == len(BY_ID) * 6
    assert [name for name, is_unknown in found if not is_unknown] == []
    assert states == ["ended", "running", "queued"], "nothing was cancelled"


async def test_what_a_tenant_is_told_of_its_own_says_nothing_of_others():
    async with line(settings=QUICK, quotas={"tokens_per_minute": 6000}) as (served, mine, theirs):
        before = [await theirs.get(path) for path in WHOLE]
        running, waiting = await one_runs_one_waits(served, mine)
        own = [one["id"] for one in (await mine.get("/v1/requests")).json()["data"]]
        after = [await theirs.get(path) for path in WHOLE]
        for task in (running, waiting):
            task.cancel()

    for answer in after:
        assert answer.status_code == 200
        assert not [name for name in ("research", "gpu-0", *own) if name in answer.text]
    assert after[1].json() == before[1].json() == {"object": "list", "data": [], "has_more": False}
    assert after[2].json() == before[2].json(), "another's use is not counted"


@pytest.mark.parametrize(
    "header", [{}, {"authorization": "Bearer fl_nobody_000000"}], ids=["none", "made up"]
)
async def test_without_an_api_token_nothing_is_told(header):
    async with line(settings=QUICK) as (_, mine, _):
        routes = [*BY_ID, *(("GET", path) for path in [*WHOLE, "/v1/usage"])]
        mine.headers.pop("authorization")
        answers = [await mine.request(method, path.format("x"), headers=header) for method, path in routes]

    assert {answer.status_code for answer in answers} == {401}


async def said(client, method, path, name):
    answer = await client.request(method, path.format(name))
    return answer.status_code, answer.json()


async def nothing_is_stored(query):
    return None
