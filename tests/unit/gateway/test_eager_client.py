"""A coroutine that is stepped by hand, and by a task from where it waits for anything else."""

from __future__ import annotations

import asyncio

import pytest

from gateway.eager_client import EagerClient
from gateway.waiting import Awaited, due, step_due


class Engine(Awaited):
    """Something that one waits for."""

    def __init__(self, client):
        self._runner, self._wake_up, self._is_held = client, None, False

    def come(self):
        self._wake()

    def come_now(self):
        self._wake_now()


class Played:
    """A request that writes down what happens to it."""

    def __init__(self):
        self.client = EagerClient()
        self.client._prepare({}, asyncio.get_running_loop())
        self.client._serving = None
        self.engine = Engine(self.client)
        self.said = []

    def begin(self, *awaits):
        self.client.run(self._serve(awaits))

    async def _serve(self, awaits):
        try:
            for number, wait in enumerate(awaits):
                self.said.append(number)
                await wait()
            self.said.append("end")
        except asyncio.CancelledError:
            self.said.append("cancelled")
            raise


@pytest.fixture
async def played():
    return Played()


async def turn():
    await asyncio.sleep(0)


async def test_it_begins_and_ends_within_the_calls_that_bring_what_it_waits_for(played):
    played.begin(played.engine.change, played.engine.change)
    assert played.said == [0]
    played.engine.come_now()
    played.engine.come_now()
    assert played.said == [0, 1, "end"]
    assert played.client.work is None


async def test_who_is_in_the_midst_of_something_has_it_go_on_a_turn_later_and_once(played):
    played.begin(played.engine.change, played.engine.change)
    played.engine.come()
    played.engine.come()
    played.engine.come_now()
    assert played.said == [0]
    await turn()
    await turn()
    assert played.said == [0, 1]


async def test_who_is_due_goes_on_before_the_next_turn_if_somebody_has_time_for_it_and_once(played):
    other = Played()
    for each in (played, other):
        each.begin(each.engine.change, each.engine.change)
        each.engine.come()
    assert (played.said, other.said) == ([0], [0])
    step_due()
    assert (played.said, other.said) == ([0, 1], [0, 1])
    await turn()
    step_due()
    assert (played.said, other.said, dict(due)) == ([0, 1], [0, 1], {})


async def test_what_comes_when_nobody_waits_is_nothing(played):
    played.begin(turn, played.engine.change)
    played.engine.come()
    played.engine.come_now()
    await turn()
    await turn()
    assert played.said == [0, 1]


async def test_a_cancelled_one_hears_it_where_it_waits(played):
    played.begin(played.engine.change)
    played.client.cancel()
    assert played.said == [0]
    await turn()
    assert played.said == [0, "cancelled"]
    played.client.cancel()
    played.client.go_on_soon()
    await turn()
    assert played.said == [0, "cancelled"]


async def test_an_answer_that_comes_after_the_cancelling_is_too_late(played):
    played.begin(played.engine.change)
    played.client.cancel()
    played.engine.come_now()
    await turn()
    assert played.said == [0, "cancelled"]


async def test_one_that_cancels_itself_hears_it_when_it_waits_next(played):
    async def cancels():
        played.client.cancel()

    played.begin(cancels, played.engine.change)
    assert played.said == [0, 1]
    await turn()
    assert played.said == [0, 1, "cancelled"]


async def test_one_that_cancels_itself_and_waits_for_something_else_hears_it_too(played):
    async def cancels():
        played.client.cancel()

    waits = asyncio.Event()
    played.begin(cancels, waits.wait)
    await turn()
    await turn()
    assert played.said == [0, 1, "cancelled"]
    assert played.client.work.cancelled()


async def test_one_that_ends_before_it_hears_of_its_cancelling_has_ended(played):
    async def cancels():
        played.client.cancel()

    played.begin(cancels)
    await turn()
    assert played.said == [0, "end"]


@pytest.mark.parametrize("wait", [turn, lambda: asyncio.sleep(0.001)], ids=["a turn", "a future"])
async def test_what_waits_for_anything_else_goes_on_in_a_task(played, wait):
    played.begin(played.engine.change, wait, played.engine.change)
    played.engine.come_now()
    assert played.said == [0, 1]
    while played.said != [0, 1, 2]:
        await turn()
    played.engine.come_now()
    await played.client.work
    assert played.said == [0, 1, 2, "end"]


async def test_it_can_ask_for_a_task_and_is_given_one_once(played):
    tasks = []

    async def asks():
        await played.client.in_task()
        tasks.append(asyncio.current_task())

    played.begin(asks, asks)
    await played.client.work
    assert tasks == [played.client.work] * 2


@pytest.mark.parametrize("wait", ["in_task", "event"])
async def test_one_that_is_cancelled_before_its_task_takes_a_step_hears_it_where_it_waits(played, wait):
    wait = played.client.in_task if wait == "in_task" else asyncio.Event().wait
    played.begin(wait)
    played.client.cancel()
    await asyncio.wait([played.client.work])
    assert played.said == [0, "cancelled"]
    assert played.client.work.cancelled()


async def test_a_fault_is_its_callers(played):
    def explode():
        raise RuntimeError("bug")

    with pytest.raises(RuntimeError, match="bug"):
        played.begin(explode)
    played.client.go_on()
    played.client.cancel()
    await turn()
    assert played.said == [0]
