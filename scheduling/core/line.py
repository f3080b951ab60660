"""Where a waiting ticket stands: in its flow's line, or aside for a reason of its own."""

from __future__ import annotations

from scheduling.core.classes import Bands
from scheduling.core.entry import Aside, Entry
from scheduling.core.own_caps import OwnCaps
from scheduling.core.timers import Timers

FRONT = Aside.FRONT  # looked up once: an enum's members are slow to reach


class Line:
    """Moves tickets in and out of their flows' lines.

    A ticket aside keeps its flow's account open, so that nothing that the
    flow owes is forgotten; it stands in nobody's way meanwhile.
    """

    def __init__(self, bands: Bands, timers: Timers) -> None:
        self._bands = bands
        self._timers = timers
        self._caps = OwnCaps()

    def stand(self, entry: Entry, now_ms: int) -> None:
        """Stand in line, or aside while an allowance is to come or the API token's cap is reached."""
        ticket = entry.ticket
        if ticket.not_before_ms is not None and ticket.not_before_ms > now_ms:
            entry.aside = Aside.PARKED
            self._timers.unpark_at(entry, ticket.not_before_ms)
        elif not self._caps.admit(entry):
            entry.aside = Aside.OWN_CAP
        else:
            self._push(entry)

    def take_out(self, entry: Entry) -> None:
        """Leave the line, or the place aside."""
        aside = entry.aside
        if aside is Aside.NO:
            entry.band.fairness.step_out(entry)
            entry.band.gone(entry)
        elif aside is Aside.OWN_CAP:
            self._caps.give_up(entry)
        elif aside is Aside.FRONT:
            self._bands.not_first(entry)
        if aside is Aside.NO or aside is Aside.FRONT:
            self.let_in(entry)

    def hold(self, entry: Entry) -> None:
        """Stand aside until ``stand``."""
        self.take_out(entry)
        entry.aside = Aside.HELD

    def move_to_front(self, entry: Entry) -> None:
        """Stand before all others of the pool, as soon as nothing of its own holds it back."""
        entry.first = True
        if entry.aside is Aside.NO:
            entry.band.fairness.step_out(entry)
            entry.band.gone(entry)
            self._push(entry)

    def seat(self, entry: Entry) -> None:
        """It has a seat, and its flow pays."""
        band = entry.band
        if entry.aside is FRONT:
            self._bands.not_first(entry)
            band.fairness.adopt(entry)
        else:
            band.fairness.serve(entry)
            band.gone(entry)

    def let_in(self, left: Entry) -> None:
        """It is gone, or aside: others of its API token may stand in line."""
        for entry in self._caps.leave(left):
            self._push(entry)

    def _push(self, entry: Entry) -> None:
        if entry.first:
            entry.aside = Aside.FRONT
            self._bands.put_first(entry)
            return
        entry.aside = Aside.NO
        entry.band.push(entry)
