"""One class of requests: who stands in its line, and who of them goes next."""

from __future__ import annotations

from collections.abc import Iterable

from scheduling.core.admission import Gate
from scheduling.core.entry import Entry, Lane
from scheduling.core.fairness import Fairness
from scheduling.core.policy import ClassRule
from scheduling.core.routing import choose, choose_for

Choice = tuple[Entry, Gate]


class Band:
    """One class: its order, and how many stand in line.

    ``overdue`` counts those that waited longer than the class's bound.
    ``hold``: seats that better classes keep free while nobody waits.
    """

    __slots__ = ("fairness", "hold", "overdue", "promoted", "rule", "waiting")

    def __init__(self, rule: ClassRule, fairness: Fairness) -> None:
        self.rule = rule
        self.fairness = fairness
        self.hold = self.waiting = 0
        self.overdue: dict[Lane, int] = {}
        self.promoted: dict[str, int] = {}  # by backend: when it was last promoted there

    @property
    def held_back(self) -> int:
        """Seats of every backend that worse classes must leave free now."""
        rule = self.rule
        return rule.reserved_seats if self.waiting else max(0, rule.reserved_seats - rule.lent_seats)

    def push(self, entry: Entry) -> None:
        """The ticket stands in the class's line."""
        self.fairness.push(entry)
        self.waiting += 1
        if entry.overdue:
            self.overdue[entry.lane] = self.overdue.get(entry.lane, 0) + 1

    def gone(self, entry: Entry) -> None:
        """The ticket is out of line, served or not."""
        self.waiting -= 1
        if entry.overdue:
            _less(self.overdue, entry.lane)

    def age(self, entry: Entry) -> None:
        """The ticket has waited longer than the class's bound."""
        entry.overdue = True
        if not entry.aside:
            self.overdue[entry.lane] = self.overdue.get(entry.lane, 0) + 1

    def forgive(self, entry: Entry) -> None:
        """The ticket is not overdue any more."""
        entry.overdue = False
        if not entry.aside:
            _less(self.overdue, entry.lane)

    def next(
        self, lanes: Iterable[Lane], hold: int, now_ms: int, kept: set[Gate], since: int = 0
    ) -> Choice | None:
        """The ticket to seat now, and where; None when no lane is open to this class.

        Where the next ticket finds no memory, its backends are kept for it:
        nobody passes it there, so that it comes to its turn.
        """
        while True:
            seats: dict[Lane, Gate] = {}
            for lane in lanes:
                if gate := choose(lane, hold, now_ms, since, kept):
                    seats[lane] = gate
            entry = self.fairness.pick(seats) if seats else None
            if entry is None:
                return None
            gate = seats[entry.lane]
            if not gate.is_choosy:
                return entry, gate
            if gate := choose_for(entry, hold, now_ms, since, kept):
                return entry, gate
            kept.update(gate for gate in entry.lane.gates if gate.since_promoted >= since)


def _less(counts: dict[Lane, int], lane: Lane) -> None:
    counts[lane] -= 1
    if not counts[lane]:
        del counts[lane]
