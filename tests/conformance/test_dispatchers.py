"""What a request may rely on while it waits, holds its seat, and leaves."""

from __future__ import annotations

import asyncio
import time

import pytest

from scheduling.core.limits import Limit
from scheduling.core.policy import TenantRule
from scheduling.core.usage import Usage
from scheduling.dispatchers.base import CancelledByAdmin, DeadlinePassed, NoBackend
from tests.conformance.line import Line, rules, suspended, ticket


@pytest.fixture
async def line(dispatcher_for):
    """A line in front of one backend with one seat and no window."""
    return Line(await dispatcher_for(rules(admission="static_cap")))


async def test_a_seat_is_held_inside_the_block_and_given_back_after(line):
    await line.join("acme-0", "acme-1")
    assert line.seated == ["acme-0"]
    assert line.counts() == (1, 1)

    await line.end("acme-0")
    await line.until(lambda: line.seated == ["acme-0", "acme-1"])
    await line.end("acme-1")

    assert line.counts() == (0, 0)


async def test_the_lease_says_where_and_how_long_it_took(line):
    async with line.dispatcher.lease(ticket("acme-0"), Usage()) as lease:
        assert lease.backend == "gpu-0"
        assert 0 <= lease.waited_ms < 1000


async def test_a_block_that_fails_gives_its_seat_back(line):
    with pytest.raises(ZeroDivisionError):
        async with line.dispatcher.lease(ticket("acme-0"), Usage()):
            raise ZeroDivisionError

    assert line.counts() == (0, 0)


async def test_a_cancelled_block_gives_its_seat_back(line):
    await line.join("acme-0", "acme-1")
    line.clients["acme-0"].task.cancel()

    await line.until(lambda: line.seated == ["acme-0", "acme-1"])


async def test_who_is_cancelled_while_waiting_leaves_the_line(line):
    await line.join("acme-0", "acme-1", "acme-2")
    line.clients["acme-1"].task.cancel()
    await line.until(line.clients["acme-1"].task.done)

    assert line.counts() == (1, 1)
    assert await line.end_all() == ["acme-0", "acme-2"]
    assert line.counts() == (0, 0)


async def test_who_is_cancelled_in_the_instant_of_being_seated_gives_the_seat_back(line):
    await line.join("acme-0", "acme-1", "acme-2")
    line.clients["acme-0"].go()
    await line.until(lambda: line.clients["acme-0"].lease is not None)
    # The seat is given away when acme-0's task runs; acme-1 is cancelled before its own wakes up.
    line.clients["acme-0"].task.add_done_callback(lambda _: line.clients["acme-1"].task.cancel())

    await line.until(lambda: "acme-2" in line.seated)
    await line.end("acme-2")

    assert line.clients["acme-1"].task.cancelled()
    assert line.counts() == (0, 0)


async def test_who_is_cancelled_before_and_seated_after_gives_the_seat_back(line):
    await line.join("acme-0", "acme-1", "acme-2")
    line.clients["acme-0"].go()
    await asyncio.sleep(0)
    line.clients["acme-1"].task.cancel()

    await line.until(lambda: "acme-2" in line.seated)
    await line.end("acme-2")
    assert line.counts() == (0, 0)


async def test_a_deadline_ends_the_wait(line):
    await line.join("acme-0")
    one = ticket("acme-1")
    late = ticket("acme-1", queued_ms=one.queued_ms, deadline_ms=one.queued_ms + 30)

    with pytest.raises(DeadlinePassed):
        async with line.dispatcher.lease(late, Usage()):
            pass
    assert line.counts() == (0, 1)
    await line.end("acme-0")


async def test_a_model_that_nobody_serves_has_no_backend(line):
    with pytest.raises(NoBackend, match="qwen"):
        async with line.dispatcher.lease(ticket("acme-0", model="qwen"), Usage()):
            pass


async def test_a_pool_that_is_not_there_has_no_backend(line):
    with pytest.raises(NoBackend, match="elsewhere"):
        async with line.dispatcher.lease(ticket("acme-0", pool="elsewhere"), Usage()):
            pass


async def test_the_rules_reorder_requests_that_wait_already(line):
    await line.join("acme-0", "heavy-1", "heavy-2", "heavy-3", "light-0")
    line.dispatcher.set_policy(rules(2, admission="static_cap", fairness="fifo"))

    assert await line.end_all() == ["acme-0", "heavy-1", "heavy-2", "heavy-3", "light-0"]


async def test_a_power_user_does_not_block_the_others(line):
    await line.join("acme-0", "heavy-1", "heavy-2", "heavy-3", "light-0")

    assert (await line.end_all()).index("light-0") == 2


async def test_new_seats_are_given_at_once(line):
    await line.join("acme-0", "acme-1", "acme-2")
    line.dispatcher.set_policy(rules(2, admission="static_cap", seats=3))

    await line.until(lambda: len(line.seated) == 3)
    await line.end_all()


async def test_a_backend_that_leaves_fails_who_waits_but_not_who_runs(line):
    await line.join("acme-0", "acme-1")
    line.dispatcher.set_policy(rules(2, models=("qwen",)))

    await line.until(line.clients["acme-1"].task.done)
    assert isinstance(line.clients["acme-1"].task.exception(), NoBackend)
    await line.end("acme-0")
    assert line.clients["acme-0"].task.exception() is None


async def test_a_suspended_tenants_requests_leave_the_line(line):
    await line.join("acme-0", "beta-0")
    line.dispatcher.set_policy(rules(2, admission="static_cap", tenants=[suspended("beta")]))

    await line.until(line.clients["beta-0"].task.done)
    assert isinstance(line.clients["beta-0"].task.exception(), CancelledByAdmin)
    await line.end("acme-0")


async def test_a_limit_shuts_and_opens_the_gate(line):
    line.dispatcher.set_limits(
        [Limit("gpu-0", 1, 0, "no reading", 0, 1.0), Limit("ghost", 1, 1, "?", 0, 1.0)]
    )
    await line.join("acme-0")
    assert line.counts() == (1, 0)

    line.dispatcher.set_limits([Limit("gpu-0", 1, 1, "back", 0, 2.0)])
    await line.until(lambda: line.seated == ["acme-0"])
    await line.end("acme-0")


async def test_a_first_token_opens_the_window(dispatcher_for):
    line = Line(await dispatcher_for(rules(seats=5, window_requests=1)))
    await line.join("acme-0", "acme-1")
    assert line.counts() == (1, 1)

    line.clients["acme-0"].lease.started()
    await line.until(lambda: line.seated == ["acme-0", "acme-1"])
    assert line.counts() == (0, 2)
    await line.end_all()


async def test_without_readings_only_the_cap_holds_answers_that_are_not_streamed(dispatcher_for):
    line = Line(await dispatcher_for(rules(seats=5, window_requests=1)))
    await line.join(*(f"acme-{n}" for n in range(6)), streams=False)

    assert line.counts() == (1, 5)
    await line.end_all()


async def test_a_reading_frees_the_window_for_answers_that_are_not_streamed(dispatcher_for):
    line = Line(await dispatcher_for(rules(seats=5, window_requests=1)))
    began_s = time.time()
    line.dispatcher.set_limits([Limit("gpu-0", 1, 5, "idle", 0, began_s, 0, began_s)])
    await line.join("acme-0", "acme-1", "acme-2", streams=False)
    assert line.counts() == (2, 1)

    line.dispatcher.set_limits([Limit("gpu-0", 1, 5, "too old", 0, began_s + 1, 1, began_s + 1e-6)])
    assert line.counts() == (2, 1)
    later_s = time.time() + 60  # a clock that is ahead: taken for now
    await asyncio.sleep(0.002)
    line.dispatcher.set_limits([Limit("gpu-0", 1, 5, "one at work", 0, later_s, 1, later_s)])
    await line.until(lambda: line.seated == ["acme-0", "acme-1"])
    assert line.counts() == (1, 2)
    await line.end_all()


async def test_a_first_token_after_the_end_does_nothing(dispatcher_for):
    line = Line(await dispatcher_for(rules(seats=5, window_requests=1)))
    async with line.dispatcher.lease(ticket("acme-0"), Usage()) as lease:
        pass
    async with line.dispatcher.lease(ticket("acme-0", attempt=2), Usage()):
        lease.started()
        (view,) = line.dispatcher.view()
        assert view.backends[0].pending_first_token == 1


async def test_a_full_engine_is_left_alone_for_a_moment_and_then_tried_again(line, monkeypatch):
    monkeypatch.setattr("scheduling.core.bounds.PAUSE_MS", 40)
    line.dispatcher.throttle("gpu-0")
    line.dispatcher.throttle("ghost")
    await line.join("acme-0")
    assert line.counts() == (1, 0)

    await line.until(lambda: line.seated == ["acme-0"])
    await line.end("acme-0")


async def test_a_look_takes_nothing_from_what_the_controller_is_told(line):
    await line.join("acme-0", "acme-1")
    await line.end("acme-0")

    assert line.dispatcher.view() == line.dispatcher.view()
    assert [gate.blocked for gate in line.dispatcher.begin_period()] == [True]
    assert [gate.blocked for gate in line.dispatcher.begin_period()] == [False]
    await line.end_all()


async def test_a_tenant_that_holds_all_its_seats_delays_only_itself(dispatcher_for):
    few = TenantRule("acme", quotas={"in_flight": 1})
    line = Line(await dispatcher_for(rules(seats=3, tenants=[few], admission="static_cap")))
    await line.join("acme-0", "acme-1", "beta-0", "beta-1")
    assert line.seated == ["acme-0", "beta-0", "beta-1"]

    await line.end("acme-0")
    await line.until(lambda: "acme-1" in line.seated)
    await line.end_all()


async def test_the_place_in_line_is_told_while_waiting_only(line):
    await line.join("acme-0", "acme-1", "acme-2")

    assert [line.dispatcher.position(f"acme-{n}") for n in range(4)] == [None, 1, 2, None]
    await line.end_all()


async def test_one_request_cannot_wait_twice(line):
    await line.join("acme-0")

    with pytest.raises(ValueError, match="acme-0"):
        async with line.dispatcher.lease(ticket("acme-0"), Usage()):
            pass
    assert line.counts() == (0, 1)
    await line.end("acme-0")
