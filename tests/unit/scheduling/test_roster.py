"""Who has work in the pool: what is counted for each tenant, when it is closed, what the view says."""

from __future__ import annotations

import pytest

from scheduling.core.entry import Entry
from scheduling.core.policy import TenantRule
from scheduling.core.roster import EVERYTHING
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import POOL, backend, policy, ticket

MODELS = ("llama", "qwen", "gemma")


class Hall:
    """The roster of a machine that has seats for all but those that it holds."""

    def __init__(self) -> None:
        self.machine = Scheduler(POOL, policy(backends=[backend("gpu-0", 99, MODELS)]))
        self.roster = self.machine.roster

    def join(self, name: str, cost: int = 100, **fields) -> Entry:
        self.machine.pause(None, 0)
        self.machine.submit(ticket(name, cost=cost, **fields), 0)
        self.machine.hold(name, 0)
        self.machine.resume(None, 0)
        return self.machine._entries[name]

    def seat(self, name: str, **fields) -> Entry:
        self.machine.submit(ticket(name, **fields), 0)
        return self.machine._entries[name]

    def finish(self, entry: Entry) -> None:
        self.machine.finish(entry.ticket.request_id, 1, 0)

    def give_up(self, entry: Entry) -> None:
        self.machine.cancel(entry.ticket.request_id, 0)


def test_what_waits_and_what_runs_is_counted_by_tenant():
    hall = Hall()
    hall.seat("acme-0", cost=30)
    hall.join("acme-1", 40)
    gone = hall.join("acme-2", 50)
    line = gone.roster
    assert (line.waiting, line.in_flight) == (2, 1)

    hall.give_up(gone)

    assert (line.waiting, line.in_flight) == (1, 1)
    assert list(hall.roster) == ["acme"]


def test_a_tenant_is_known_as_long_as_it_has_anything_here():
    hall = Hall()
    runs, waits = hall.seat("acme-0"), hall.join("acme-1")

    hall.finish(runs)
    assert list(hall.roster) == ["acme"]
    runs = hall.seat("acme-2")
    hall.give_up(waits)
    assert list(hall.roster) == ["acme"]
    hall.finish(runs)
    assert list(hall.roster) == []

    waits = hall.join("acme-3")
    hall.give_up(waits)
    assert list(hall.roster) == []


@pytest.mark.parametrize(("most", "closed"), [(1, EVERYTHING), (2, EVERYTHING), (3, None)])
def test_a_tenant_is_closed_while_it_has_as_many_seats_as_it_may(most, closed):
    hall = Hall()
    for n in range(2):
        hall.seat(f"acme-{n}")

    assert hall.roster.closed("acme", TenantRule("acme", quotas={"in_flight": most})) is closed


def test_other_quotas_close_nobody():
    hall = Hall()
    hall.seat("acme-0")
    minute = {"requests_per_minute": 0}
    rule = TenantRule("acme", quotas=minute, model_quotas={"llama": minute})

    assert hall.roster.closed("acme", rule) is None
    assert hall.roster.closed("acme", TenantRule("acme", quotas=minute)) is None
    assert hall.roster.closed("acme", None) is None


def test_a_tenant_that_has_nothing_here_is_closed_by_its_pause_alone():
    hall = Hall()
    rule = TenantRule("acme", quotas={"in_flight": 1})
    assert hall.roster.closed("acme", rule) is None

    hall.roster.paused.add("acme")

    assert hall.roster.closed("acme", rule) is EVERYTHING
    assert hall.roster.closed("beta", None) is None


def test_a_tenant_is_closed_for_the_models_of_which_it_has_as_many_seats_as_it_may():
    hall = Hall()
    for n in range(2):
        hall.seat(f"acme-{n}", model="qwen")
    hall.seat("acme-2")
    hall.seat("acme-3", model="gemma")
    quotas = {"qwen": {"in_flight": 2}, "llama": {"in_flight": 2}, "gemma": {"in_flight": 1}}
    rule = TenantRule("acme", quotas={"in_flight": 9}, model_quotas=quotas)

    assert hall.roster.closed("acme", rule) == {"qwen", "gemma"}
    rule = TenantRule("acme", model_quotas={"llama": {"in_flight": 2}})
    assert hall.roster.closed("acme", rule) is None


def test_seats_of_a_model_are_counted_from_when_they_are_asked_for_and_kept_up():
    hall = Hall()
    first, _ = hall.seat("acme-0", model="qwen"), hall.seat("acme-1")
    hall.seat("acme-2", model="qwen")
    hall.seat("beta-0", model="qwen")
    hall.join("acme-3", model="qwen")
    assert hall.roster.models_of("acme") == {"qwen": 2, "llama": 1}

    hall.seat("acme-4")
    hall.seat("acme-5", model="gemma")
    hall.finish(first)

    assert hall.roster.models_of("acme") == {"qwen": 1, "llama": 2, "gemma": 1}


def test_a_boost_multiplies_the_weight_of_its_tenant_only():
    hall = Hall()
    hall.roster.boosts["acme"] = (5, 900)
    tenants = {"acme": TenantRule("acme", weight=3), "beta": TenantRule("beta", weight=2)}

    assert [hall.roster.weight_of(name, tenants) for name in ("acme", "beta", "ghost")] == [15, 2, 1]


def test_a_request_that_came_just_now_has_not_waited():
    hall = Hall()
    hall.join("acme-0", 1, queued_ms=100)

    (acme,) = hall.roster.view({}, 100)

    assert (acme.oldest_wait_ms, acme.waits_ms) == (0, {"standard": 0})


def test_the_view_shows_every_tenant_with_work_as_it_is_entitled_now():
    hall = Hall()
    hall.seat("beta-0", queued_ms=0, priority_class="batch")
    hall.join("acme-0", 30, queued_ms=70)
    hall.join("acme-1", 40, queued_ms=20, priority_class="batch")
    hall.join("acme-2", 50, queued_ms=50)
    hall.roster.boosts["acme"] = (3, 900)
    hall.roster.paused.add("beta")

    acme, beta = hall.roster.view({"acme": TenantRule("acme", weight=2)}, 100)

    assert (acme.tenant, acme.queued, acme.queued_tokens, acme.in_flight) == ("acme", 3, 120, 0)
    assert (acme.oldest_wait_ms, acme.weight, acme.boost, acme.paused) == (80, 2, 3, False)
    assert acme.classes == ("batch", "standard")
    assert (acme.waits_ms, beta.waits_ms) == ({"standard": 50, "batch": 80}, {})
    assert acme.entitled == 6 / 7
    assert (beta.oldest_wait_ms, beta.in_flight, beta.weight, beta.boost, beta.paused) == (
        None,
        1,
        1,
        1,
        True,
    )


def test_a_wait_is_never_shown_as_negative_when_a_ticket_was_queued_on_a_faster_clock():
    hall = Hall()
    hall.join("acme-0", queued_ms=140)

    (acme,) = hall.roster.view({}, 100)

    assert acme.oldest_wait_ms == 0
