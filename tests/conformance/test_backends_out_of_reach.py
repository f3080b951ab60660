"""A dispatcher in front of a backend that fails, and the order that it hands on to engines."""

from __future__ import annotations

import pytest

from scheduling.core.policy import ClassRule
from scheduling.core.usage import Usage
from tests.conformance.line import Line, rules, ticket


@pytest.fixture
async def line(dispatcher_for):
    """A line in front of one backend with four seats and no window."""
    return Line(await dispatcher_for(rules(seats=4, admission="static_cap")))


def circuit(line: Line) -> str:
    return line.dispatcher.view()[0].backends[0].circuit


async def break_off(line: Line, name: str) -> None:
    """A request reaches nobody."""
    async with line.dispatcher.lease(ticket(name), Usage()) as lease:
        line.dispatcher.fail(lease.backend, lease)
        lease.refund = True


async def test_a_backend_that_nobody_reaches_is_left_alone_then_tried_by_one_then_back(line, monkeypatch):
    monkeypatch.setattr("scheduling.core.circuit.FIRST_BACK_OFF_MS", 40)
    for n in range(3):
        await break_off(line, f"lost-{n}")
    line.dispatcher.fail("ghost")
    assert circuit(line) == "open"
    await line.join("acme-0", "acme-1")
    assert line.counts() == (2, 0)

    await line.until(lambda: line.seated == ["acme-0"])
    assert circuit(line) == "half_open"
    line.clients["acme-0"].lease.started()
    assert circuit(line) == "closed"
    await line.end_all()
    assert line.seated == ["acme-0", "acme-1"]


async def test_who_was_sent_before_and_fails_late_is_not_taken_for_the_one_that_tries(line, monkeypatch):
    monkeypatch.setattr("scheduling.core.circuit.FIRST_BACK_OFF_MS", 1)
    await line.join("late-0")
    for n in range(3):
        await break_off(line, f"lost-{n}")
    await line.join("acme-0")
    await line.until(lambda: line.seated == ["late-0", "acme-0"])

    line.dispatcher.fail("gpu-0", line.clients["late-0"].lease)
    line.clients["late-0"].lease.refund = True
    await line.end("late-0")
    line.clients["acme-0"].lease.started()
    assert circuit(line) == "closed"
    await line.end_all()


async def test_an_answer_without_a_stream_is_a_success_when_it_comes(line, monkeypatch):
    monkeypatch.setattr("scheduling.core.circuit.FIRST_BACK_OFF_MS", 1)
    for n in range(3):
        await break_off(line, f"lost-{n}")
    await line.join("acme-0", streams=False)
    await line.until(lambda: line.seated == ["acme-0"])
    line.clients["acme-0"].lease.started()

    assert circuit(line) == "closed"
    await line.end("acme-0")


async def test_a_request_between_two_failures_that_is_served_keeps_the_circuit_closed(line):
    await break_off(line, "lost-0")
    await break_off(line, "lost-1")
    await line.join("acme-0")
    line.clients["acme-0"].lease.started()
    await line.end("acme-0")
    await break_off(line, "lost-2")

    assert circuit(line) == "closed"


async def test_a_model_is_served_until_its_backends_cannot_be_reached(line):
    serves = line.dispatcher.serves
    assert (serves("main", "llama"), serves("main", "qwen"), serves("elsewhere", "llama")) == (
        True,
        False,
        False,
    )
    for n in range(3):
        await break_off(line, f"lost-{n}")

    assert not serves("main", "llama")


@pytest.mark.parametrize(("mode", "order"), [("off", None), ("with_window", 60 + 2 * 20 + (1 << 50))])
async def test_the_lease_carries_the_order_that_the_engine_is_to_go_by(dispatcher_for, mode, order):
    policy = rules(seats=4, admission="static_cap", engine_priority=mode, fairness="token_fair")
    classes = {"standard": ClassRule("standard", 1)}
    dispatcher = await dispatcher_for(
        type(policy)(1, classes=classes, pools=policy.pools, backends=policy.backends)
    )
    line = Line(dispatcher)
    await line.join("acme-0", "acme-1")

    assert line.clients["acme-1"].lease.engine_order == order
    await line.end_all()
