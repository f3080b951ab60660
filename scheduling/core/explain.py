"""Why a request waits, where it stands, and for about how much longer."""

from __future__ import annotations

from collections.abc import Iterator

from scheduling.core.admission import Gate
from scheduling.core.entry import Aside, Entry
from scheduling.core.machine import Machine
from scheduling.core.policy import IN_FLIGHT, TenantRule
from scheduling.core.view import Explanation, Reason

OUTSIDE = frozenset({Aside.PARKED, Aside.HELD, Aside.OWN_CAP})
BACKEND_TEXTS = {
    "draining": "backend {name} drains",
    "circuit": "backend {name} could not be reached and is left alone until a request finds it well",
    "left_alone": "backend {name} said that it is full and is left alone for a moment",
    "full": "backend {name} has as many requests in flight as it may ({cap})",
    "reserved": "the free seats of backend {name} are reserved for better classes",
    "slow_start": "backend {name} has just come back and is sent a few requests at a time",
    "grant": "backend {name} was sent as many as its queue had room for, until its queue is read again",
    "kv": "backend {name} has {reserved} of {memory} tokens of memory reserved; this request may need {need}",
    "window": "backend {name} still owes {pending} first tokens, as many as it may",
}
KEPT = Reason("backends_kept", "a request whose turn it is waits for memory; the backends are kept for it")


def position(machine: Machine, entry: Entry, now_ms: int) -> int:
    """About how many dispatches until the ticket's own: 1 is next.

    From tables built at most once per 500 ms: O(depth) beside those.
    """
    if entry.aside in OUTSIDE:
        return min(machine.waiting, 1 + machine.bands.in_line)
    return min(machine.waiting, 1 + machine.bands.ahead(entry, now_ms))


def explain(machine: Machine, entry: Entry, now_ms: int) -> Explanation:
    """The ordered reasons, the place, and the estimate, which is remembered to be checked."""
    place = position(machine, entry, now_ms)
    wait_ms = _wait_ms(machine, entry, place, now_ms)
    if wait_ms is not None and entry.told_ms is None:
        entry.told_ms, entry.told_at_ms = wait_ms, now_ms
    return Explanation(
        request_id=entry.ticket.request_id,
        position=place,
        wait_ms=wait_ms,
        error_ms=machine.pace.error_ms,
        reasons=tuple(_reasons(machine, entry, now_ms)) or (KEPT,),
    )


def _wait_ms(machine: Machine, entry: Entry, place: int, now_ms: int) -> int | None:
    """None while an admin's hold or pause is in the way, which has no end, or nothing was seated of late."""
    if entry.aside is Aside.HELD or machine.bands.paused or entry.ticket.tenant in machine.roster.paused:
        return None
    wait_ms = machine.pace.wait_ms(place, now_ms)
    allowance_ms = entry.ticket.not_before_ms
    if wait_ms is None or allowance_ms is None:
        return wait_ms
    return max(wait_ms, allowance_ms - now_ms)


def _reasons(machine: Machine, entry: Entry, now_ms: int) -> Iterator[Reason]:
    yield from _own_reasons(machine, entry)
    if entry.aside in OUTSIDE:
        return
    yield from _backend_reasons(machine, entry, now_ms)
    if entry.aside is Aside.FRONT:
        yield Reason("moved_to_front", "an admin moved the request before all others")
        return
    yield from _rival_reasons(machine, entry)


def _own_reasons(machine: Machine, entry: Entry) -> Iterator[Reason]:
    """What holds back this request or its tenant, whoever else waits."""
    ticket = entry.ticket
    if entry.aside is Aside.HELD:
        yield Reason("held", "an admin holds the request")
    if machine.bands.paused:
        yield Reason("pool_paused", f"pool {machine.pool} is paused")
    if ticket.tenant in machine.roster.paused:
        yield Reason("tenant_paused", f"tenant {ticket.tenant} is paused")
    if entry.aside is Aside.PARKED:
        yield Reason("quota", "the next allowance of its own quota is still to come", ticket.not_before_ms)
    if entry.aside is Aside.OWN_CAP:
        most = ticket.api_token_in_flight
        yield Reason("api_token_in_flight", f"its API token has {most} requests going, as many as it may")
    yield from _seat_quotas(machine, entry)


def _seat_quotas(machine: Machine, entry: Entry) -> Iterator[Reason]:
    ticket, line = entry.ticket, entry.roster
    rule = machine.policy.tenants.get(ticket.tenant) or TenantRule(ticket.tenant)
    most = rule.most(IN_FLIGHT)
    if most is not None and line.in_flight >= most:
        yield Reason(
            "tenant_in_flight", f"tenant {ticket.tenant} has {most} requests in flight, as many as it may"
        )
    most = rule.most(IN_FLIGHT, ticket.model)
    if most is not None and machine.roster.models_of(ticket.tenant).get(ticket.model, 0) >= most:
        yield Reason(
            "model_in_flight",
            f"tenant {ticket.tenant} has {most} requests for {ticket.model} in flight, as many as it may",
        )


def _backend_reasons(machine: Machine, entry: Entry, now_ms: int) -> Iterator[Reason]:
    """Why each backend that serves the model does not take this ticket now; nothing when one does."""
    hold = machine.bands.held_back_from(entry)
    shut = [
        (gate, gate.why_shut(hold, now_ms) or ("" if gate.fits(entry) else "kv")) for gate in entry.lane.gates
    ]
    if all(code for _, code in shut):
        for gate, code in shut:
            yield Reason(f"backend_{code}", _backend_text(gate, code, entry), gate.opens_ms(code))


def _backend_text(gate: Gate, code: str, entry: Entry) -> str:
    return BACKEND_TEXTS[code].format(
        name=gate.name,
        cap=gate.cap,
        pending=gate.pending,
        reserved=gate.reserved_kv_tokens,
        memory=gate.kv_tokens,
        need=entry.kv_tokens,
    )


def _rival_reasons(machine: Machine, entry: Entry) -> Iterator[Reason]:
    """Who else stands in line, from the widest circle in."""
    ticket = entry.ticket
    if better := machine.bands.better_waiting(entry):
        yield Reason("better_class", f"{better} requests of better classes wait")
    if rivals := entry.band.fairness.rivals(entry):
        tenants = "1 other tenant waits" if rivals == 1 else f"{rivals} other tenants wait"
        yield Reason(
            "share", f"{tenants} in class {ticket.priority_class}: the turn of {ticket.tenant} is to come"
        )
    if own := machine.bands.in_line_of(ticket.tenant) - 1:
        requests = "1 more request" if own == 1 else f"{own} more requests"
        yield Reason("own_line", f"tenant {ticket.tenant} has {requests} in line")
