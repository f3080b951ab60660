"""What engines are told and what they tell: our order, a known beginning, their load."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx2 as httpx
import pytest

from scheduling.core.policy import PoolRule
from scheduling.dispatchers.seat import Seat
from scheduling.engines.endpoint import Endpoint
from tests.fakes.engine import running_engine
from tests.fakes.faulty import answer, faulty_engine, says
from tests.fakes.faulty_gateway import (
    AUTH,
    BODY,
    CAST,
    CHAT,
    WHOLE,
    post,
    send_raw,
)
from tests.fakes.gateway import MODEL, POOL, running_gateway
from tests.fakes.waiting import until

REPORT = 'JSON {"named_metrics": {"kv_cache_usage_perc": 0.4, "num_requests_waiting": 2}}'
TELLING = answer(b'{"choices":[]}', "200 OK", f"endpoint-load-metrics: {REPORT}")
FULL = answer(b'{"error":{"message":"full"}}', "503 Service Unavailable", f"endpoint-load-metrics: {REPORT}")


@asynccontextmanager
async def before(*engines, kind="vllm", policy=None, **options):
    """A gateway before engines of this kind, at these ports."""
    endpoints = {
        f"gpu-{number}": Endpoint(f"gpu-{number}", f"http://127.0.0.1:{port}", kind)
        for number, port in enumerate(engines)
    }
    policy = policy or CAST.policy(tuple(endpoints))
    async with running_gateway(policy, CAST.callers(), endpoints, **options) as served:
        yield served


def give_order(served, *orders):
    """Leases say these orders, as those of a pool do that sends its order on."""
    dispatcher, left = served.dispatcher, iter(orders)

    class Ordered(Seat):
        def at_once(self):
            is_held = super().at_once()
            self.engine_order = next(left)
            return is_held

    def lease(ticket, usage):
        seat = Ordered(ticket)
        seat.dispatcher, seat.usage, seat.refund = dispatcher, usage, False
        return seat

    dispatcher.lease = lease


CLIENTS_OWN = [
    pytest.param(b'"priority":-9,', id="plain"),
    pytest.param(b'"priority":-9,"priority":-8,', id="twice"),
    pytest.param(b'"prior\\u0069ty":-9,"\\u0070riority":-8,', id="escaped"),
]


@pytest.mark.parametrize("own", CLIENTS_OWN)
@pytest.mark.parametrize(("kind", "priority"), [("vllm", 41), ("sglang", -41), ("tgi", None)])
async def test_an_engine_gets_our_order_in_its_own_sign_and_never_the_clients(kind, priority, own):
    nested = b'"metadata":{"priority":"-7"},"messages":[{"role":"user","content":"x","priority":-6}]'
    body = b'{%b"model":"%b",%b}' % (own, MODEL.encode(), nested)
    async with faulty_engine(says(WHOLE)) as engine, before(engine.port, kind=kind) as served:
        give_order(served, 41)
        async with httpx.AsyncClient(base_url=served.url, headers=AUTH) as client:
            assert (await client.post(CHAT, content=body)).status_code == 200
    sent = engine.asked[0].body
    pairs = json.loads(sent, object_pairs_hook=list)
    assert [value for name, value in pairs if name == "priority"] == ([priority] if priority else [])
    assert nested in sent, "what is nested is the client's data, byte for byte"


async def test_without_the_mode_an_engine_gets_no_priority_at_all():
    async with faulty_engine(says(WHOLE)) as engine, before(engine.port) as served:
        await post(served, {**BODY, "priority": -9})
    assert b"priority" not in engine.asked[0].body


async def test_a_simulated_engine_obeys_the_order_it_is_given():
    ended, wide = [], replace(CAST.policy(), pools={POOL: PoolRule(POOL, window_requests=9)})
    async with (
        running_engine(
            model=MODEL, max_num_seqs=1, time_scale=5, eos=None, scheduling_policy="priority"
        ) as engine,
        before(int(engine.url.rpartition(":")[2]), policy=wide) as served,
    ):
        orders = {"first": 0, "late": 30, "middle": 20, "early": 10}
        give_order(served, *orders.values())

        async def ask(name):
            reader, writer = await send_raw(served, {**BODY, "max_tokens": 100 if name == "first" else 4})
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            ended.append(name)
            writer.close()

        tasks = []
        for number, name in enumerate(orders, 1):
            tasks.append(asyncio.create_task(ask(name)))
            await until(lambda number=number: in_engine(engine) == number)
        await asyncio.gather(*tasks)
    assert ended == ["first", "early", "middle", "late"]


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
@pytest.mark.parametrize("mode", ["with_window", "alone"])
async def test_a_pool_that_sends_its_order_puts_a_better_class_first_in_the_engines_words(mode, kind):
    policy = replace(CAST.policy(), pools={POOL: PoolRule(POOL, engine_priority=mode)})
    async with faulty_engine(says(WHOLE)) as engine, before(engine.port, kind=kind, policy=policy) as served:
        await post(served, {**BODY, "service_tier": "flex", "priority": -9})
        await post(served, {**BODY, "service_tier": "default", "priority": 9})
    batch, standard = (json.loads(asked.body)["priority"] for asked in engine.asked)
    assert batch not in (9, -9)
    assert (standard < batch) == (kind == "vllm")


def in_engine(engine):
    return engine.model.running + engine.model.waiting


@pytest.mark.parametrize(
    ("kind", "asks"), [("vllm", True), ("triton", True), ("sglang", False), ("tgi", False)]
)
async def test_an_engine_that_may_tell_its_load_is_asked_for_it(kind, asks):
    async with faulty_engine(says(WHOLE)) as engine, before(engine.port, kind=kind) as served:
        await post(served, BODY)
    asked = engine.asked[0].headers.get(b"endpoint-load-metrics-format")
    assert asked == (b"json" if asks else None)


async def test_a_load_report_reaches_the_controller_and_no_client():
    heard = []
    async with (
        faulty_engine(says(WHOLE), says(TELLING, then="close")) as engine,
        before(engine.port, on_load=lambda *report: heard.append(report)) as served,
    ):
        engine.scripts.reverse()
        answers = [await post(served, BODY) for _ in range(2)]
    assert heard == [("gpu-0", REPORT.encode())]
    assert [each.status_code for each in answers] == [200, 200]
    assert all("load-metrics" not in name for each in answers for name in each.headers)


async def test_an_engine_that_is_full_is_heard_too():
    heard = []
    script = says(FULL, then="close"), says(WHOLE)
    async with (
        faulty_engine(*script) as engine,
        before(engine.port, on_load=lambda *report: heard.append(report)) as served,
    ):
        assert (await post(served, BODY)).status_code == 200
    assert heard == [("gpu-0", REPORT.encode())]


async def test_a_simulated_vllm_tells_its_load_to_the_gateway():
    heard = []
    async with (
        running_engine(model=MODEL, time_scale=50) as engine,
        before(int(engine.url.rpartition(":")[2]), on_load=lambda *report: heard.append(report)) as served,
    ):
        await post(served, BODY)
    ((backend, report),) = heard
    kind, _, figures = report.partition(b" ")
    assert (backend, kind) == ("gpu-0", b"JSON")
    assert json.loads(figures)["named_metrics"]


@pytest.mark.parametrize(("slack", "backend"), [(1, "gpu-1"), (None, "gpu-0")], ids=["affinity", "none"])
async def test_a_conversation_goes_back_to_the_engine_that_knows_its_beginning(slack, backend):
    policy = CAST.policy(("gpu-0", "gpu-1"))
    policy = replace(policy, pools={POOL: PoolRule(POOL, prefix_slack_requests=slack)})
    talks = [[{"role": "user", "content": word * 2000}] for word in ("ours ", "theirs ")]
    both_are_asked = asyncio.Event()

    async def waits(peer):
        while True:
            await peer.request()
            await both_are_asked.wait()
            await peer.send(WHOLE)

    async with (
        faulty_engine(waits) as one,
        faulty_engine(waits) as two,
        before(one.port, two.port, policy=policy) as served,
    ):
        first = asyncio.create_task(post(served, {**BODY, "messages": talks[0]}))
        await until(lambda: one.asked)
        second = asyncio.create_task(post(served, {**BODY, "messages": talks[1]}))
        await until(lambda: two.asked)
        both_are_asked.set()
        await asyncio.gather(first, second)
        again = [*talks[1], {"role": "assistant", "content": "ok"}, {"role": "user", "content": "more"}]
        await post(served, {**BODY, "messages": again})
        records = await served.settled(3)
    assert records[2].backend == backend
