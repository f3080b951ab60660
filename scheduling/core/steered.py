"""What an admin does to a pool while it works."""

from __future__ import annotations

from scheduling.core.entry import Aside
from scheduling.core.events import Boosted, BoostEnded, Event, Held, MovedToFront, Paused, Released, Resumed
from scheduling.core.policy import MAX_BOOST
from scheduling.core.shortcuts import Shortcuts


class Steered(Shortcuts):
    """The machine with an admin's hands on it. Each method is an input, as those of ``Scheduler`` are."""

    def boost(self, tenant: str, factor: int, until_ms: int, now_ms: int) -> list[Event]:
        """Count the tenant's weight ``factor`` times until then, also for what waits already.

        A factor of 1, or an end that has passed, ends a boost. Raises
        ValueError for a factor out of range.
        """
        if not 1 <= factor <= MAX_BOOST:
            raise ValueError(f"boost of {tenant} is {factor}; it must be from 1 to {MAX_BOOST}")
        before = self.roster.boosts.pop(tenant, None)
        if factor > 1 and until_ms > now_ms:
            self.roster.boosts[tenant] = (factor, until_ms)
            self.timers.look_at(until_ms)
            events: list[Event] = [Boosted(tenant, factor, until_ms, now_ms)]
        else:
            events = [BoostEnded(tenant, now_ms)] if before else []
        self.bands.reweigh([tenant])
        return events + self._settled(now_ms)

    def pause(self, tenant: str | None, now_ms: int) -> list[Event]:
        """Seat nothing of the tenant any more, or nothing at all for None; who runs goes on."""
        if tenant is None and not self.bands.paused:
            self.bands.paused = True
        elif tenant is not None and tenant not in self.roster.paused:
            self.roster.paused.add(tenant)
            self._mark(tenant)
        else:
            return self._settled(now_ms)
        return [Paused(tenant, now_ms), *self._settled(now_ms)]

    def resume(self, tenant: str | None, now_ms: int) -> list[Event]:
        """End a pause: who waited goes on from where it stood, without credit for the time."""
        if tenant is None and self.bands.paused:
            self.bands.paused = False
        elif tenant is not None and tenant in self.roster.paused:
            self.roster.paused.discard(tenant)
            self._mark(tenant)
        else:
            return self._settled(now_ms)
        return [Resumed(tenant, now_ms), *self._settled(now_ms)]

    def hold(self, request_id: str, now_ms: int) -> list[Event]:
        """Take a waiting ticket aside until it is released; its deadline still counts."""
        entry = self.waiting_entry(request_id)
        if entry is None or entry.aside is Aside.HELD:
            return []
        self._line.hold(entry)
        return [Held(entry.ticket, now_ms), *self._settled(now_ms)]

    def release(self, request_id: str, now_ms: int) -> list[Event]:
        """Let a held ticket stand in line again, at the end of its flow."""
        entry = self.waiting_entry(request_id)
        if entry is None or entry.aside is not Aside.HELD:
            return []
        self._line.stand(entry, now_ms)
        return [Released(entry.ticket, now_ms), *self._settled(now_ms)]

    def move_to_front(self, request_id: str, now_ms: int) -> list[Event]:
        """Seat this ticket before all others of the pool, whatever its class; its flow pays as usual.

        It changes the order only: pauses, holds and quotas hold it back as before.
        """
        entry = self.waiting_entry(request_id)
        if entry is None or entry.first:
            return []
        self._line.move_to_front(entry)
        return [MovedToFront(entry.ticket, now_ms), *self._settled(now_ms)]
