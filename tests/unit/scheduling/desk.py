"""What admins and quotas have said about tickets that wait, kept apart from the machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from scheduling.core.policy import Policy
from scheduling.core.ticket import Ticket

Running = Mapping[str, tuple[Ticket, str]]


class Desk:
    """Knows who is held, paused, moved to the front or still without an allowance."""

    def __init__(self) -> None:
        self.pool_paused = False
        self.paused: set[str] = set()
        self.held: set[str] = set()
        self.first: set[str] = set()

    def forget(self, request_id: str) -> None:
        self.held.discard(request_id)
        self.first.discard(request_id)

    def may_go(self, one: Ticket, policy: Policy, running: Running, now: int) -> bool:
        """Whether nothing of its own holds the ticket back."""
        if self.pool_paused or one.tenant in self.paused or one.request_id in self.held:
            return False
        if one.not_before_ms is not None and one.not_before_ms > now:
            return False
        going = sum(other.api_token == one.api_token for other, _ in running.values())
        if one.api_token_in_flight is not None and going >= one.api_token_in_flight:
            return False
        return not self._seats_taken(one, policy, running)

    def waits_for_its_token(self, one: Ticket, waiting: Iterable[Ticket], running: Running, now: int) -> bool:
        """Whether its API token may have others going instead: as many as its cap are there."""
        if one.api_token_in_flight is None:
            return False
        others = [other for other in waiting if other.request_id != one.request_id]
        others += [other for other, _ in running.values()]
        rivals = [other for other in others if other.api_token == one.api_token and self._is_live(other, now)]
        return len(rivals) >= one.api_token_in_flight

    def _is_live(self, one: Ticket, now: int) -> bool:
        return one.request_id not in self.held and (one.not_before_ms or 0) <= now

    def _seats_taken(self, one: Ticket, policy: Policy, running: Running) -> bool:
        rule = policy.tenants.get(one.tenant)
        if rule is None:
            return False
        mine = [other for other, _ in running.values() if other.tenant == one.tenant]
        most = rule.quotas.get("in_flight")
        if most is not None and len(mine) >= most:
            return True
        most = rule.model_quotas.get(one.model, {}).get("in_flight")
        return most is not None and sum(other.model == one.model for other in mine) >= most
