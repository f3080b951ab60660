"""What an admin may do to a request that waits, and what it may be told."""

from __future__ import annotations

import asyncio

import pytest

from scheduling.core.limits import Limit
from scheduling.core.usage import Usage
from scheduling.dispatchers.base import CancelledByAdmin
from tests.conformance.line import Line, rules, ticket


@pytest.fixture
async def line(dispatcher_for):
    """A line in front of one backend with one seat and no window."""
    return Line(await dispatcher_for(rules(admission="static_cap")))


async def test_an_admin_takes_a_waiting_request_out_of_line(line):
    await line.join("acme-0", "acme-1")

    assert line.dispatcher.cancel("acme-1")
    await line.until(line.clients["acme-1"].task.done)
    assert isinstance(line.clients["acme-1"].task.exception(), CancelledByAdmin)
    assert not line.dispatcher.cancel("acme-1")
    assert not line.dispatcher.cancel("acme-0")
    assert line.counts() == (0, 1)
    await line.end("acme-0")


async def test_an_admin_moves_a_waiting_request_to_the_front(line):
    await line.join("acme-0", "acme-1", "acme-2", "acme-3")

    assert line.dispatcher.move_to_front("acme-3")
    assert not line.dispatcher.move_to_front("acme-0")
    assert await line.end_all() == ["acme-0", "acme-3", "acme-1", "acme-2"]


async def test_a_held_request_waits_until_it_is_released(line):
    await line.join("acme-0", "acme-1", "acme-2")

    assert line.dispatcher.hold("acme-1")
    await line.end("acme-0")
    await line.until(lambda: line.seated == ["acme-0", "acme-2"])
    await line.end("acme-2")
    assert line.counts() == (1, 0)
    assert line.dispatcher.release("acme-1")
    await line.end_all()
    assert not line.dispatcher.release("acme-1")


async def test_an_allowance_that_comes_later_parks_the_request_until_then(line):
    one = ticket("acme-0")
    async with line.dispatcher.lease(ticket("acme-0", not_before_ms=one.queued_ms + 40), Usage()) as lease:
        assert lease.waited_ms >= 39


async def test_who_waits_is_told_why(line):
    await line.join("acme-0", "acme-1")

    told = line.dispatcher.explain("acme-1")
    assert [reason.code for reason in told.reasons] == ["backend_full"]
    assert (told.request_id, told.position) == ("acme-1", 1)
    assert line.dispatcher.explain("acme-0") is None
    await line.end_all()


@pytest.mark.parametrize("begun_under", ["vtc", "token_fair"])
async def test_under_vtc_a_tenant_pays_while_its_answer_streams_also_one_that_did_before_it_was_chosen(
    dispatcher_for, monkeypatch, begun_under
):
    monkeypatch.setattr("scheduling.dispatchers.memory.METER_EVERY_S", 0.005)
    line = Line(await dispatcher_for(rules(seats=2, fairness=begun_under, admission="static_cap")))
    await line.join("acme-long", "beta-short")
    line.dispatcher.set_policy(rules(2, seats=2, fairness="vtc", admission="static_cap"))
    await line.join("acme-1", "beta-1")
    line.clients["acme-long"].usage.completion_tokens = 5000

    await asyncio.sleep(0.05)
    await line.end("beta-short")
    await line.until(lambda: len(line.seated) == 3)

    assert line.seated[2] == "beta-1"
    await line.end_all()


async def test_an_answer_that_streams_already_reserves_memory_once_that_is_known(dispatcher_for, monkeypatch):
    monkeypatch.setattr("scheduling.dispatchers.memory.METER_EVERY_S", 0.005)
    line = Line(await dispatcher_for(rules(admission="static_cap")))
    await line.join("acme-long")
    line.clients["acme-long"].usage.completion_tokens = 5000

    line.dispatcher.set_limits([Limit("gpu-0", 3, 1, "test", read_at_s=1.0, kv_tokens=9000)])

    await line.until(lambda: line.dispatcher.view()[0].backends[0].reserved_kv_tokens >= 5060)
    await line.end_all()
