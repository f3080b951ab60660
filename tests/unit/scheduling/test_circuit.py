"""A backend that cannot be reached is left alone, is tried by one request, and comes back slowly."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from scheduling.core.events import Event
from scheduling.core.limits import Limit
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import (
    CLASSES,
    POOL,
    backend,
    dispatched,
    paused_machine,
    policy,
    ticket,
)


def fail(made: Scheduler, request_id: str, now_ms: int) -> list[str]:
    """The request could not reach its backend; who is seated then."""
    return dispatched(made.fail("gpu-0", now_ms)) + dispatched(
        made.finish(request_id, 0, now_ms, refund=True)
    )


def where(events: Iterable[Event]) -> dict[str, str]:
    return {event.ticket.request_id: event.backend for event in events}


def circuit(made: Scheduler, now_ms: int) -> str:
    return made.view(now_ms).backends[0].circuit


def broken(made: Scheduler, now_ms: int = 0) -> Scheduler:
    for _ in range(3):
        made.fail("gpu-0", now_ms)
    return made


def test_three_failures_in_a_row_open_the_circuit_and_fewer_do_not():
    made = paused_machine(waiting=9)
    made.fail("gpu-0", 0)
    made.fail("gpu-0", 0)
    assert circuit(made, 0) == "closed"
    made.fail("gpu-0", 5)

    assert circuit(made, 5) == "open"
    assert [made.view(now_ms).backends[0].retry_in_ms for now_ms in (105, 1_005)] == [900, None]
    assert made.resume(None, 5)[1:] == []
    assert made.next_due_ms() == 1_005


def test_a_request_that_was_served_breaks_the_row():
    made = paused_machine()
    made.resume(None, 0)
    for name in ("acme-0", "acme-1"):
        made.submit(ticket(name), 0)
    made.fail("gpu-0", 0)
    made.fail("gpu-0", 0)
    made.start("acme-0", 1)
    made.fail("gpu-0", 1)
    made.fail("gpu-0", 1)
    assert circuit(made, 1) == "closed"
    made.start("acme-1", 2)
    made.fail("gpu-0", 2)

    assert circuit(made, 2) == "closed"


def test_a_client_that_leaves_before_an_answer_proves_nothing():
    made = paused_machine()
    made.resume(None, 0)
    made.submit(ticket("acme-0"), 0)
    made.fail("gpu-0", 0)
    made.fail("gpu-0", 0)
    made.finish("acme-0", 10, 1)  # what the engine may have read is charged
    made.fail("gpu-0", 1)

    assert circuit(made, 1) == "open"


def test_a_request_that_was_given_back_breaks_no_row():
    made = paused_machine(waiting=1)
    made.resume(None, 0)
    made.fail("gpu-0", 0)
    made.fail("gpu-0", 0)
    made.finish("acme-0", 0, 1, refund=True)
    made.fail("gpu-0", 1)

    assert circuit(made, 1) == "open"


def test_one_request_at_a_time_tries_and_each_that_fails_doubles_the_time_up_to_thirty_seconds():
    made = broken(paused_machine(waiting=20))
    made.resume(None, 0)
    now_ms, waits = 0, []
    for n in range(7):
        due_ms = made.next_due_ms()
        waits.append(due_ms - now_ms)
        assert made.expire(due_ms - 1) == []
        assert dispatched(made.expire(due_ms)) == [f"acme-{n}"]
        assert circuit(made, due_ms) == "half_open"
        assert made.expire(due_ms + 500) == []
        now_ms = due_ms + 500
        assert fail(made, f"acme-{n}", now_ms) == []

    assert waits == [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]


def test_a_try_of_which_nothing_came_lets_the_next_one_try():
    made = broken(paused_machine(waiting=3))
    made.resume(None, 0)
    made.expire(1_000)

    assert dispatched(made.finish("acme-0", 0, 1_200, refund=True)) == ["acme-1"]
    assert circuit(made, 1_200) == "half_open"


def test_a_try_whose_answer_comes_whole_closes_the_circuit_without_a_first_token():
    made = broken(paused_machine())
    made.submit(ticket("acme-0", streams=False), 0)
    made.resume(None, 0)
    assert dispatched(made.expire(1_000)) == ["acme-0"]
    made.start("acme-0", 1_001)

    assert circuit(made, 1_001) == "closed"


def test_failures_of_those_who_were_sent_before_prolong_nothing():
    made = paused_machine(waiting=9)
    made.resume(None, 0)
    broken(made)
    made.fail("gpu-0", 900)
    for n in range(8):
        made.finish(f"acme-{n}", 0, 900, refund=True)
    made.submit(ticket("late-0"), 900)

    assert dispatched(made.expire(1_000)) == ["acme-8"]
    assert made.fail("gpu-0", 1_000) == []
    assert made.next_due_ms() == 3_000


def test_the_failure_of_one_who_was_sent_before_is_not_that_of_the_try():
    made = paused_machine()
    made.resume(None, 0)
    made.submit(ticket("acme-0"), 0)
    before = made.waiting_entry("acme-0") or made.running()[0]
    broken(made)
    made.submit(ticket("acme-1"), 0)
    assert dispatched(made.expire(1_000)) == ["acme-1"]

    made.fail("gpu-0", 1_100, before)
    made.finish("acme-0", 0, 1_100, refund=True)
    assert circuit(made, 1_100) == "half_open"
    made.start("acme-1", 1_200)
    assert circuit(made, 1_200) == "closed"


def test_the_next_outage_begins_with_a_short_wait_again():
    made = broken(paused_machine(waiting=3))
    made.resume(None, 0)
    made.expire(1_000)
    fail(made, "acme-0", 1_000)
    made.expire(3_000)
    made.start("acme-1", 3_000)
    broken(made, 4_000)

    assert made.next_due_ms() == 5_000


def down(at_s: float, *, down: bool = True) -> Limit:
    return Limit("gpu-0", 8, 8, "probe", 0, at_s, down=down)


def test_a_probe_that_nobody_answers_opens_the_circuit_at_once():
    made = paused_machine(waiting=5)
    made.set_limit(down(1.0), 100)

    assert circuit(made, 100) == "open"
    assert made.resume(None, 100)[1:] == []
    assert made.next_due_ms() == 1_100


def test_a_probe_that_is_answered_again_lets_one_try_at_once():
    made = paused_machine(waiting=5)
    made.set_limit(down(1.0), 100)
    made.resume(None, 100)

    assert dispatched(made.set_limit(down(2.0, down=False), 300)) == ["acme-0"]
    assert circuit(made, 300) == "half_open"


def test_requests_outvote_a_probe_that_says_the_same_for_ever():
    made = paused_machine(waiting=5)
    made.resume(None, 0)
    made.set_limit(down(1.0), 0)
    for n in range(5):
        made.start(f"acme-{n}", 10)
        made.finish(f"acme-{n}", 10, 10)
    made.submit(ticket("acme-9"), 10)
    assert dispatched(made.expire(1_000)) == ["acme-9"]
    made.start("acme-9", 1_100)
    made.set_limit(down(2.0), 1_200)

    assert circuit(made, 1_200) == "closed"


def test_an_answer_to_the_probe_shortens_no_back_off_where_requests_fail():
    made = paused_machine(waiting=5)
    made.set_limit(down(1.0, down=False), 0)
    broken(made)
    made.resume(None, 0)

    assert made.set_limit(down(2.0, down=False), 500) == []
    assert circuit(made, 999) == "open"


def test_an_outage_of_one_backend_delays_nobody_at_the_other():
    made = Scheduler(POOL, policy(backends=[backend("gpu-0", 2), backend("gpu-1", 2)]))
    broken(made)

    events = [event for n in range(3) for event in made.submit(ticket(f"acme-{n}"), 0)]
    assert [event.backend for event in events] == ["gpu-1", "gpu-1"]


def test_who_avoids_a_backend_goes_there_when_the_other_cannot_be_reached():
    made = Scheduler(POOL, policy(backends=[backend("gpu-0", 2), backend("gpu-1", 2)]))
    broken(made)
    one = ticket("acme-0", attempt=2, avoid=frozenset({"gpu-1"}))

    assert [event.backend for event in made.submit(one, 0)] == ["gpu-1"]


def test_who_waits_for_the_other_backend_turns_back_when_that_cannot_be_reached_and_again_when_it_is_back():
    made = Scheduler(POOL, policy(backends=[backend("gpu-0", 1), backend("gpu-1", 1)]))
    for n in range(2):
        made.submit(ticket(f"plug-{n}"), 0)
    for n in range(3):
        made.submit(ticket(f"acme-{n}", attempt=2, avoid=frozenset({"gpu-1"})), 0)
    assert dispatched(made.finish("plug-1", 10, 0)) == []

    turned_back = [event for _ in range(3) for event in made.fail("gpu-0", 0)]
    assert where(turned_back) == {"acme-2": "gpu-1"}  # retries go before others, the newest first
    assert made.finish("plug-0", 10, 10) == []
    assert where(made.expire(1_000)) == {"acme-1": "gpu-0"}
    made.start("acme-1", 1_001)

    assert made.finish("acme-2", 10, 1_002) == []
    assert where(made.finish("acme-1", 10, 1_003)) == {"acme-0": "gpu-0"}


def test_a_model_is_served_while_a_backend_takes_requests_for_it():
    backends = [backend("gpu-0", 2), backend("gpu-1", 2, ("qwen",), draining=True)]
    made = Scheduler(POOL, policy(backends=backends))
    assert (made.serves("llama", 0), made.serves("qwen", 0), made.serves("ghost", 0)) == (True, False, False)
    broken(made)

    assert not made.serves("llama", 999)
    assert made.serves("llama", 1_000)


@pytest.mark.parametrize(("now_ms", "until_ms"), [(500, 1_000), (1_000, None)])
def test_who_waits_is_told_that_the_backend_could_not_be_reached(now_ms, until_ms):
    made = broken(paused_machine(waiting=2))
    made.resume(None, 0)
    made.expire(now_ms)

    reason = made.explain("acme-1", now_ms).reasons[0]
    assert (reason.code, reason.until_ms) == ("backend_circuit", until_ms)
    assert reason.text == "backend gpu-0 could not be reached and is left alone until a request finds it well"


def test_a_failure_of_an_unknown_backend_changes_nothing():
    assert paused_machine().fail("ghost", 0) == []


def test_a_change_of_classes_forgets_no_open_circuit():
    made = broken(paused_machine(waiting=1))
    made.resume(None, 0)
    made.set_policy(policy(seats=8, classes=CLASSES, revision=2), 10)

    assert made.next_due_ms() == 1_000
