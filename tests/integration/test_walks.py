"""The three walks of docs/walks.md, each through the real gateway, database, bus and a simulated engine."""

from __future__ import annotations

import asyncio
import time

import pytest
from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI, AuthenticationError

from gateway import services as gateway_services
from gateway.models import UsageRecord
from gateway.snapshots import keep_watched, read_picture
from scheduling import selectors, services
from tests.fakes.engine import running_engine
from tests.fakes.plane import BY, MODEL, read, running_plane
from tests.fakes.waiting import until

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

ASK = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}


def client_of(plane, secret: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{plane.url}/v1", api_key=secret, max_retries=0)


async def ask(client: AsyncOpenAI, max_tokens: int, done: list[str], name: str) -> None:
    stream = await client.chat.completions.create(**ASK, max_tokens=max_tokens, stream=True)
    async for _ in stream:
        pass
    done.append(name)


def queued(plane) -> int:
    return sum(pool.queued for pool in plane.gateway.dispatcher.view())


async def one_runs_one_waits(
    plane, client: AsyncOpenAI, max_tokens: int
) -> tuple[asyncio.Task, asyncio.Task]:
    """A long answer that holds the only seat, and a request in line behind it."""
    running = asyncio.create_task(ask(client, max_tokens, [], "long"))
    await until(lambda: sum(pool.in_flight for pool in plane.gateway.dispatcher.view()) == 1)
    waiting = asyncio.create_task(client.chat.completions.create(**ASK))
    await until(lambda: queued(plane) == 1)
    return running, waiting


async def test_a_request_goes_from_the_door_to_one_usage_record(valkey) -> None:
    async with running_engine(time_scale=20, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"chat": {}})
        async with client_of(plane, secrets["chat"]) as client:
            answer = await client.chat.completions.create(**ASK, max_tokens=7)

    record = await read(UsageRecord.objects.get)
    assert answer.usage.completion_tokens == 7
    assert (record.tenant, record.outcome, record.backend) == ("chat", "ok", "sim-0")
    assert record.completion_tokens == 7
    assert record.cost == answer.usage.prompt_tokens + 2 * 7
    assert record.accepted_at <= record.queued_at <= record.dispatched_at <= record.first_token_at
    assert record.first_token_at <= record.ended_at


async def test_a_weight_edited_while_requests_wait_reorders_them_within_a_second(valkey) -> None:
    async with running_engine(time_scale=2, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"research": {"weight": 1}, "batch": {"weight": 1}}, seats=1)
        clients = {tenant: client_of(plane, secret) for tenant, secret in secrets.items()}
        done: list[str] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(12):
                for tenant in ("batch", "research"):
                    group.create_task(ask(clients[tenant], 12, done, tenant))
            await until(lambda: queued(plane) >= 20)
            before = len(done)
            edited_s = time.monotonic()
            await plane.write(services.set_weight, "research", 1000)
            await plane.settle()
            took_s = time.monotonic() - edited_s
        for client in clients.values():
            await client.close()

    in_force = before + 3  # those that had a seat or were being handed one when the edit came
    assert took_s < 1
    assert set(done[in_force : in_force + 6]) == {"research"}
    change = await read(lambda: selectors.changes().first())
    assert (change.by, change.before, change.after) == (BY, 1, 1000)


async def test_a_revoked_api_token_is_refused_within_two_seconds(valkey) -> None:
    async with running_engine(time_scale=20, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"chat": {}})
        async with client_of(plane, secrets["chat"]) as client:
            await client.chat.completions.create(**ASK, max_tokens=1)
            token = await read(gateway_services.ApiToken.objects.get)
            await plane.write(gateway_services.revoke_token, token.pk)
            revoked_s = time.monotonic()
            refused = False
            while not refused and time.monotonic() < revoked_s + 2:
                try:
                    await client.chat.completions.create(**ASK, max_tokens=1)
                except AuthenticationError:
                    refused = True

    assert refused


async def test_an_admin_takes_a_waiting_request_out_of_line(valkey) -> None:
    async with running_engine(time_scale=1, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"chat": {}}, seats=1)
        async with client_of(plane, secrets["chat"]) as client:
            first, waiting = await one_runs_one_waits(plane, client, 200)
            (request_id,) = plane.waiting()
            command = await plane.write(services.send_command, "cancel", request_id)
            with pytest.raises(APIStatusError) as refused:
                await waiting
            result = await read(selectors.command_result, command.pk)
            first.cancel()
            with pytest.raises((asyncio.CancelledError, APIConnectionError)):
                await first

    assert refused.value.status_code == 503
    assert result == {"done": True}


async def test_the_console_sees_the_queue_that_a_gateway_publishes(async_valkey) -> None:
    async with running_engine(time_scale=1, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"chat": {"weight": 3}}, seats=1)
        await keep_watched(async_valkey)
        async with client_of(plane, secrets["chat"]) as client:
            asked = [asyncio.create_task(ask(client, 60, [], "chat")) for _ in range(3)]
            async with asyncio.timeout(5):
                while True:
                    picture = await read_picture(async_valkey)
                    pool = picture.pool("main")
                    if pool and pool.tenants and pool.queued == 2:
                        break
                    await asyncio.sleep(0.05)
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    (line,) = pool.tenants
    assert (line.tenant, line.weight, line.queued, line.in_flight) == ("chat", 3, 2, 1)
    assert line.entitled == pytest.approx(1)


async def test_a_second_gateway_process_waits_until_the_first_has_ended(valkey) -> None:
    async with running_plane() as first:
        await until(lambda: first.gateway.ready)
        async with running_plane() as second:
            await asyncio.sleep(1.2)
            assert not second.gateway.ready


async def test_a_gateway_that_stops_tells_the_streams_it_cuts_off(valkey) -> None:
    async with running_engine(time_scale=1, model=MODEL) as engine, running_plane() as plane:
        secrets = await plane.setup([engine], {"chat": {}}, seats=1)
        async with client_of(plane, secrets["chat"]) as client:
            running, waiting = await one_runs_one_waits(plane, client, 2000)
            cut_off = await plane.gateway.drain(0.3)
            with pytest.raises(APIError, match="shutting down"):
                await running
            with pytest.raises(APIStatusError, match="shutting down") as refused:
                await waiting

    outcomes = await read(lambda: [record.outcome for record in UsageRecord.objects.all()])
    assert cut_off == 2
    assert refused.value.status_code == 503
    assert outcomes == ["draining", "draining"]
