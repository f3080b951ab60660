"""What the in-process dispatcher keeps beside the machine: service of late, and one timer."""

from __future__ import annotations

from scheduling.core.policy import Policy
from scheduling.core.usage import Usage
from scheduling.dispatchers.base import DeadlinePassed
from scheduling.dispatchers.memory import MemoryDispatcher
from tests.conformance.line import POOL, Line, rules, ticket


class Clock:
    def __init__(self) -> None:
        self.ms = 0

    def __call__(self) -> int:
        return self.ms


async def use(dispatcher, name: str, usage: Usage, *, refund: bool = False) -> None:
    async with dispatcher.lease(ticket(name, queued_ms=0), usage) as lease:
        lease.refund = refund


async def test_service_of_the_last_minute_and_the_last_five_is_counted_in_cost_tokens():
    clock = Clock()
    dispatcher = MemoryDispatcher(rules(), clock)
    await use(dispatcher, "acme-0", Usage(prompt_tokens=100, completion_tokens=50))
    clock.ms = 59_999
    await use(dispatcher, "acme-1", Usage(prompt_tokens=7))
    await use(dispatcher, "beta-0", Usage(prompt_tokens=1000), refund=True)
    assert dispatcher.served() == {(POOL, "acme", "standard"): (207, 207)}

    clock.ms = 60_000
    assert dispatcher.served() == {(POOL, "acme", "standard"): (7, 207)}
    clock.ms = 300_000
    assert dispatcher.served() == {(POOL, "acme", "standard"): (0, 7)}
    clock.ms = 400_000
    assert dispatcher.served() == {}


async def test_who_leaves_is_told_what_its_flow_is_charged_and_only_once():
    dispatcher = MemoryDispatcher(rules(), Clock())
    charged = []
    for name, usage, refund in (
        ("acme-0", Usage(prompt_tokens=100, completion_tokens=50), False),
        ("acme-1", Usage(prompt_tokens=100, completion_tokens=50), True),
        ("acme-2", Usage(), False),
    ):
        lease = dispatcher.lease(ticket(name, queued_ms=0), usage)
        assert lease.at_once()
        lease.refund = refund
        charged.append((lease.leave(), lease.leave()))

    assert charged == [(200, 0), (0, 0), (1, 0)]
    assert dispatcher.served() == {(POOL, "acme", "standard"): (201, 201)}


async def test_a_timer_runs_only_while_something_may_fall_due():
    clock = Clock()
    dispatcher = MemoryDispatcher(rules(admission="static_cap"), clock)
    line = Line(dispatcher)
    await line.join("acme-0", queued_ms=0)
    assert dispatcher._timer is None

    await line.join("acme-1", queued_ms=0, deadline_ms=5)
    assert dispatcher._timer is not None
    clock.ms = 5
    await line.until(line.clients["acme-1"].task.done)
    assert isinstance(line.clients["acme-1"].task.exception(), DeadlinePassed)
    assert dispatcher._timer is None
    await line.end("acme-0")


async def test_a_pool_that_leaves_is_forgotten_once_its_last_request_has_ended():
    dispatcher = MemoryDispatcher(rules(), Clock())
    line = Line(dispatcher)
    await line.join("acme-0", queued_ms=0)

    dispatcher.set_policy(Policy(2))
    assert line.counts() == (0, 1)
    await line.end("acme-0")
    dispatcher.set_policy(Policy(3))

    assert dispatcher.view() == ()
    dispatcher.close()


async def test_what_is_settled_after_a_look_counts_in_the_same_second_and_ages_with_it():
    clock = Clock()
    dispatcher = MemoryDispatcher(rules(), clock)
    await use(dispatcher, "acme-0", Usage(prompt_tokens=1))
    assert dispatcher.served() == {(POOL, "acme", "standard"): (1, 1)}

    await use(dispatcher, "acme-1", Usage(prompt_tokens=10))
    assert dispatcher.served() == dispatcher.served() == {(POOL, "acme", "standard"): (11, 11)}

    clock.ms = 60_000
    assert dispatcher.served() == {(POOL, "acme", "standard"): (0, 11)}
    clock.ms = 300_000
    assert dispatcher.served() == {}


async def test_a_first_token_that_comes_after_the_end_is_nobodys():
    dispatcher = MemoryDispatcher(rules(), Clock())
    async with dispatcher.lease(ticket("acme-0"), Usage()) as lease:
        pass

    async with dispatcher.lease(ticket("acme-0"), Usage()):
        lease.started()
        assert dispatcher.view()[0].backends[0].answered == 0
        assert dispatcher.view()[0].backends[0].pending_first_token == 1


async def test_service_is_told_by_class():
    dispatcher = MemoryDispatcher(rules(), Clock())
    for name, priority_class in (("acme-0", "batch"), ("acme-1", "standard"), ("acme-2", "batch")):
        asked = ticket(name, queued_ms=0, priority_class=priority_class)
        async with dispatcher.lease(asked, Usage(prompt_tokens=10)):
            pass

    assert dispatcher.served() == {(POOL, "acme", "batch"): (20, 20), (POOL, "acme", "standard"): (10, 10)}


async def test_who_waited_is_told_of_its_seat_and_is_in_line_no_more():
    dispatcher = MemoryDispatcher(rules(admission="static_cap"), Clock())
    line = Line(dispatcher)
    await line.join("acme-0", "acme-1", queued_ms=0)
    assert [dispatcher.position(name) for name in ("acme-0", "acme-1")] == [None, 1]

    await line.end("acme-0")
    await line.until(lambda: line.clients["acme-1"].lease)

    assert dispatcher.position("acme-1") is None
    await line.end("acme-1")
