"""What a request that comes now is told of its wait, as the referee reckons it."""

from __future__ import annotations

from scheduling.core.ticket import Ticket
from scheduling.core.view import Foretold, Newcomer
from tests.unit.scheduling.referee_rules import Rules

LATEST_SEATS, LATEST_MS = 64, 60_000  # the pace of a pool is that of so many seats, none of them older


class Foretelling(Rules):
    """Holds what the machine foretells against the line, the pace, and what then becomes of the ticket."""

    seats_ms: list[int]

    def _foretold(self, one: Ticket) -> Foretold:
        """What the machine says before the ticket comes: a place that can be, and its wait at the pace."""
        told = self.machine.foretell(Newcomer(one.tenant, one.priority_class, one.model), self.now)
        paused = self.desk.pool_paused or one.tenant in self.desk.paused
        before, peers = self._sure_to_wait(one)
        if told.position:
            assert before < told.position <= 1 + len(self.waiting), "no such place"
            assert told.wait_ms == (None if paused else self._at_the_pace(told.position))
        else:
            assert not paused, "a seat at once in a pause"
            assert not before, "a seat before those whose turn is first"
            assert told.wait_ms == 0
        if self.policy.pools[self.machine.pool].fairness == "fifo":
            assert told.position > before + peers or not before + peers
        return told

    def _check_the_foretold(self, one: Ticket, told: Foretold, *, nobody_waited: bool) -> None:
        """Who has no limit of its own has a seat at once when told so, and where none waits only then."""
        if not self._is_plain(one):
            return
        at_once = one.request_id in self.running
        if not told.position:
            assert at_once, "a seat was foretold, and is none"
        if nobody_waited:
            assert at_once == (not told.position), "it has a seat at once, and was told that it would wait"

    def _sure_to_wait(self, one: Ticket) -> tuple[int, int]:
        """How many in line go before the newcomer in any order, and how many more are of its class.

        Before it go those moved to the front, better classes, and those of its own tenant.
        """
        in_line = [
            other
            for other in self.waiting.values()
            if other.request_id not in self.desk.held
            and (other.not_before_ms or 0) <= self.now
            and other.api_token_in_flight is None
        ]
        peers = [other for other in in_line if self._rank_of(other) == self._rank_of(one)]
        before = [
            other
            for other in in_line
            if other.request_id in self.desk.first
            or self._rank_of(other) < self._rank_of(one)
            or (other in peers and other.tenant == one.tenant)
        ]
        return len(before), sum(other not in before for other in peers)

    def _rank_of(self, one: Ticket) -> int:
        rule = self.policy.classes.get(one.priority_class)
        return rule.rank if rule else 0

    def _at_the_pace(self, position: int) -> int | None:
        latest = [at for at in self.seats_ms[-LATEST_SEATS:] if self.now - at <= LATEST_MS]
        if len(latest) < 2:
            return None
        return position * max(1, self.now - latest[0]) // len(latest)

    def _is_plain(self, one: Ticket) -> bool:
        """Whether it asks for nothing but a seat, and neither it nor its tenant has a limit in the way."""
        asks = one.avoid or one.deadline_ms is not None or one.api_token_in_flight is not None
        reserves = any(limit.kv_tokens is not None for limit in self.limits.values())
        running = {name: ran for name, ran in self.running.items() if name != one.request_id}
        free = self.desk.may_go(one, self.policy, running, self.now)
        return free and not (asks or reserves or self._is_overdue(one) or self._suspended(one))
