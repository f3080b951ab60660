"""Why a request waits, where it stands, and for how much longer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.limits import Limit
from scheduling.core.policy import TenantRule
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import CLASSES, POOL, backend, dispatched, policy, ticket


def codes(machine: Scheduler, name: str, now_ms: int = 0) -> list[str]:
    return [reason.code for reason in machine.explain(name, now_ms).reasons]


def full(**fields) -> Scheduler:
    """One seat, taken."""
    machine = Scheduler(POOL, policy(**fields))
    machine.submit(ticket("plug-0", priority_class="interactive"), 0)
    return machine


def test_only_a_waiting_request_is_explained():
    machine = full()

    assert machine.explain("plug-0", 0) is None
    assert machine.explain("ghost", 0) is None


def test_a_full_backend_comes_first_then_better_classes_then_others_then_its_own_line():
    machine = full(classes=CLASSES)
    machine.submit(ticket("vip-0", priority_class="interactive"), 0)
    machine.submit(ticket("beta-0"), 0)
    machine.submit(ticket("acme-0"), 0)
    machine.submit(ticket("acme-1"), 0)

    assert codes(machine, "acme-1") == ["backend_full", "better_class", "share", "own_line"]
    assert machine.explain("acme-1", 0).reasons[2].text == (
        "1 other tenant waits in class standard: the turn of acme is to come"
    )


def test_whoever_gave_up_is_no_rival_any_more_and_not_in_its_tenants_line():
    machine = full()
    for name in ("acme-0", "acme-1", "beta-0"):
        machine.submit(ticket(name), 0)
    assert codes(machine, "acme-0") == ["backend_full", "share", "own_line"]

    machine.cancel("acme-1", 0)
    machine.cancel("beta-0", 0)

    assert codes(machine, "acme-0") == ["backend_full"]


def test_what_is_the_requests_own_comes_before_all_others():
    machine = full(seats=3)
    machine.submit(ticket("parked-0", not_before_ms=900), 0)
    machine.submit(ticket("held-0"), 0)
    capped = {"api_token": "ci", "api_token_in_flight": 1}
    for n in range(2):
        machine.submit(ticket(f"capped-{n}", **capped), 0)
    machine.submit(ticket("full-0"), 0)
    machine.submit(ticket("full-1"), 0)
    machine.hold("full-1", 0)

    assert codes(machine, "parked-0") == ["quota"]
    assert machine.explain("parked-0", 0).reasons[0].until_ms == 900
    assert codes(machine, "capped-1") == ["api_token_in_flight"]
    assert codes(machine, "full-1") == ["held"]


def test_pauses_and_seat_quotas_are_named():
    tenants = {
        "acme": TenantRule("acme", quotas={"in_flight": 1}),
        "beta": TenantRule("beta", model_quotas={"llama": {"in_flight": 1}}),
    }
    machine = Scheduler(POOL, replace(policy(seats=9), tenants=tenants))
    for name in ("acme-0", "acme-1", "beta-0", "beta-1"):
        machine.submit(ticket(name), 0)

    assert codes(machine, "acme-1")[0] == "tenant_in_flight"
    assert codes(machine, "beta-1")[0] == "model_in_flight"
    machine.pause("acme", 0)
    machine.pause(None, 0)
    assert codes(machine, "acme-1")[:2] == ["pool_paused", "tenant_paused"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda machine: machine.throttle("gpu-0", 0), "backend_left_alone", id="busy"),
        pytest.param(
            lambda machine: machine.set_policy(
                policy(backends=[backend("gpu-0", 2, draining=True)], revision=2), 0
            ),
            "backend_draining",
            id="draining",
        ),
        pytest.param(
            lambda machine: machine.set_limit(Limit("gpu-0", 1, 0, "shut", 0, 1.0), 0),
            "backend_full",
            id="shut",
        ),
    ],
)
def test_the_backends_state_is_named(change, code):
    machine = Scheduler(POOL, policy(seats=2))
    change(machine)
    machine.submit(ticket("acme-0"), 0)

    assert codes(machine, "acme-0") == [code]


def test_a_full_window_and_reserved_seats_are_told_apart():
    window = Scheduler(POOL, policy(seats=9, window=1, admission="first_token_window"))
    for n in range(2):
        window.submit(ticket(f"acme-{n}"), 0)
    reserved = Scheduler(POOL, policy(seats=2, classes=CLASSES))
    for n in range(2):
        reserved.submit(ticket(f"acme-{n}"), 0)

    assert codes(window, "acme-1") == ["backend_window"]
    assert codes(reserved, "acme-1") == ["backend_reserved"]


def test_no_backend_is_blamed_while_one_is_open():
    backends = [backend("gpu-0", 1), backend("gpu-1", 1)]
    machine = Scheduler(POOL, policy(backends=backends))
    machine.submit(ticket("plug-0"), 0)
    machine.pause("acme", 0)
    machine.submit(ticket("acme-0"), 0)

    assert codes(machine, "acme-0") == ["tenant_paused"]


def served(machine: Scheduler, running: str, count: int, every_ms: int, now_ms: int = 0) -> tuple[str, int]:
    """Finish what runs, one every so often; who runs then, and the time."""
    for _ in range(count):
        now_ms += every_ms
        (running,) = dispatched(machine.finish(running, 100, now_ms))
    return running, now_ms


def test_the_wait_is_foretold_from_the_pace_of_late_and_checked_when_it_ends():
    machine = Scheduler(POOL, policy())
    for n in range(60):
        machine.submit(ticket(f"acme-{n}"), 0)
    assert machine.explain("acme-5", 0).wait_ms is None
    running, now_ms = served(machine, "acme-0", 20, 100)

    told = machine.explain("acme-40", now_ms)

    assert told.position == 20
    assert told.wait_ms == pytest.approx(2_000, rel=0.1)
    assert told.error_ms is None
    served(machine, running, 30, 100, now_ms)
    assert machine.explain("acme-55", now_ms + 3_000).error_ms <= 200


def test_a_pace_that_changes_shows_in_the_error():
    machine = Scheduler(POOL, policy())
    for n in range(60):
        machine.submit(ticket(f"acme-{n}"), 0)
    running, now_ms = served(machine, "acme-0", 20, 100)
    machine.explain("acme-30", now_ms)

    served(machine, running, 20, 300, now_ms)

    assert machine.explain("acme-50", now_ms + 6_000).error_ms == pytest.approx(2_000, rel=0.15)


def test_nobody_foretells_the_end_of_a_pause_but_an_allowance_has_one():
    machine = Scheduler(POOL, policy())
    for n in range(60):
        machine.submit(ticket(f"acme-{n}"), 0)
    machine.submit(ticket("parked-0", not_before_ms=90_000), 0)
    _, now_ms = served(machine, "acme-0", 20, 100)

    assert machine.explain("parked-0", now_ms).wait_ms == 90_000 - now_ms
    machine.pause("acme", now_ms)
    assert machine.explain("acme-40", now_ms).wait_ms is None
