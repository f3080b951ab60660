"""An admin asks why a request waits and changes its place: through the command line and the control API."""

from __future__ import annotations

import asyncio
import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.fakes.engine import running_engine
from tests.fakes.plane import MODEL, read, running_plane
from tests.fakes.waiting import until
from tests.integration.control_api.script import Api
from tests.integration.test_walks import ASK, ask, client_of, one_runs_one_waits, queued

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


def on_the_command_line(*words: str) -> str:
    out = StringIO()
    call_command("request", *words, stdout=out)
    return out.getvalue()


async def test_an_admin_asks_why_a_request_waits_holds_it_and_lets_it_go(valkey) -> None:
    async with running_engine(time_scale=1, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"chat": {}}, seats=1)
        async with client_of(plane, secrets["chat"]) as client:
            first, waiting = await one_runs_one_waits(plane, client, 40)
            (request_id,) = plane.waiting()
            told = json.loads(await read(on_the_command_line, "explain", request_id, "--json"))
            assert [reason["code"] for reason in told["reasons"]] == ["backend_full"]
            assert "number 1 in line" in await read(on_the_command_line, "explain", request_id)

            await read(on_the_command_line, "hold", request_id)
            await first
            assert queued(plane) == 1
            assert "an admin holds the request" in await read(on_the_command_line, "explain", request_id)
            await read(on_the_command_line, "release", request_id)
            await waiting

            with pytest.raises(CommandError, match="by its x-fairlane-request-id"):
                await read(on_the_command_line, "cancel", request_id)


async def test_a_script_moves_a_request_to_the_front(valkey) -> None:
    async with running_engine(time_scale=1, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"chat": {}}, seats=1)
        issued = await plane.write_admin_token("requests:write")
        api, done = Api(issued.secret), []
        async with client_of(plane, secrets["chat"]) as client:
            long = asyncio.create_task(ask(client, 4000, [], "long"))
            asked = []
            await until(lambda: sum(pool.in_flight for pool in plane.gateway.dispatcher.view()) == 1)
            for n in range(3):
                asked.append(asyncio.create_task(ask(client, 2, done, f"waiting-{n}")))
                await until(lambda n=n: queued(plane) == n + 1)
            last = plane.waiting()[-1]
            answer = await read(api, "POST", f"requests/{last}/move_to_front")
            assert (answer.status_code, answer.json()) == (200, {"request_id": last, "done": "move_to_front"})
            assert (await read(api, "GET", f"requests/{last}")).json()["position"] == 1
            long.cancel()  # its client leaves, so the seat is free
            await asyncio.gather(*asked)

    assert done == ["waiting-2", "waiting-0", "waiting-1"]


async def test_nobody_has_a_request_that_ended(valkey) -> None:
    async with running_plane() as plane:
        api = Api((await plane.write_admin_token("requests:read")).secret)

        assert (await read(api, "GET", "requests/ghost")).status_code == 404
        assert (await read(api, "POST", "requests/ghost/cancel")).status_code == 403


async def test_a_request_beyond_its_minute_waits_for_its_allowance_and_is_told_so(valkey) -> None:
    async with running_engine(time_scale=20, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"chat": {"quotas": {"requests_per_minute": 1}}}, seats=4)
        async with client_of(plane, secrets["chat"]) as client:
            await client.chat.completions.create(**ASK, max_tokens=2)
            waiting = asyncio.create_task(client.chat.completions.create(**ASK, max_tokens=2))
            await until(lambda: queued(plane) == 1)
            told = plane.gateway.dispatcher.explain(plane.waiting()[0])
            waiting.cancel()
            await until(lambda: queued(plane) == 0)

    assert [reason.code for reason in told.reasons] == ["quota"]
