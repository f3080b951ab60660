"""How figures are written, and words that follow from them, so that no sentence says more than was seen."""

from __future__ import annotations

from dataclasses import dataclass

from scheduling.simulation.experiments.experiment import Column, Table

ENOUGH = 0.98  # of the throughput without limits: a law that keeps less costs something
STARVED = 0.9  # below this part of it the engine is starved
GAIN = 0.05  # a part of the whole that grew by less is called the same
NOTABLE = 1.5  # a figure that moved by less, either way, is called about the same


@dataclass(frozen=True, slots=True)
class Factor:
    """How many times as much, and how the table writes it."""

    value: float
    text: str

    @classmethod
    def of(cls, table: Table, label: str, key: str) -> Factor:
        """The one in this cell."""
        return cls(table.value(label, key), table.text(label, key))


def seconds(value: float) -> str:
    """A time: 0 s, 0.046 s, 0.52 s, 12.3 s, 136 s."""
    digits = 0 if not value else 3 if value < 0.1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} s"


def milliseconds(value: float) -> str:
    """A short time in whole and tenth milliseconds."""
    return f"{value:.1f} ms"


def whole(value: float) -> str:
    """A count."""
    return f"{value:,.0f}"


def share(value: float) -> str:
    """A part of the whole, 0..1, in per cent."""
    return f"{value:.1%}".replace("%", " %")


def index(value: float) -> str:
    """Jain's index."""
    return f"{value:.4f}"


def times(value: float) -> str:
    """A factor: 0.12, 1.3, 25, 1,300."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def ratio(after: float, before: float) -> float:
    """How many times as much. Nothing before counts as a millionth, for the division."""
    return after / max(before, 1e-6)


def moved(what: str, before: str, after: str, factor: Factor) -> str:
    """``what`` grows or falls so many times, or stays about the same; figures as they are written."""
    if factor.value >= NOTABLE:
        return f"{what} grows from {before} to {after} ({factor.text} times)"
    if factor.value <= 1 / NOTABLE:
        return f"{what} falls from {before} to {after} ({factor.text} times)"
    return f"{what} stays about the same: {before} and {after}"


REQUESTS = Column("requests", "requests", whole)
P50 = Column("p50", "first token p50", seconds)
P99 = Column("p99", "first token p99", seconds)
FACTOR = Column("factor", "p99 ÷ alone", times)
ENGINE_QUEUE = Column("engine_queue", "engine's queue, longest", whole)
WRITTEN = Column("written", "tokens/s written", whole)
POLLED = Column("polled", "polled every", seconds)
PER_TOKEN = Column("per_token", "between tokens p50", milliseconds)
KEPT = Column("kept", "throughput kept", share)
SHARE = Column("share", "share of tokens", share)
JAIN = Column("jain", "Jain index", index)
