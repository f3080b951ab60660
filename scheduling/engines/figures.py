"""How a figure is found among the samples of a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scheduling.engines import exposition
from scheduling.engines.exposition import Sample

MOST_TOKENS = 10**12  # no engine's memory holds more; a bigger figure is absurd and counts as not said


@dataclass(frozen=True, slots=True)
class Series:
    """Exact names of one figure, best first. ``only`` picks one label value, if the name needs it.

    ``plus`` names what counts on top where the page has it: a second line
    in front of the same engine.
    """

    names: tuple[str, ...]
    only: tuple[str, str] | None = None
    plus: tuple[str, ...] = ()

    def read(self, samples: Sequence[Sample]) -> float | None:
        """The first name that the page has, summed over its label sets; None when it has none."""
        picked = [sample for sample in samples if self._picks(sample)]
        for name in self.names:
            if (value := exposition.total(picked, name)) is not None:
                return value + sum(exposition.total(picked, more) or 0.0 for more in self.plus)
        return None

    def largest(self, samples: Sequence[Sample]) -> float | None:
        """The first name that the page has, of the rank that has most; None when it has none."""
        for name in self.names:
            if values := [sample.value for sample in samples if sample.name == name and self._picks(sample)]:
                return max(values)
        return None

    def _picks(self, sample: Sample) -> bool:
        return self.only is None or sample.labels.get(self.only[0]) == self.only[1]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A sum and a count whose growth between two readings gives a mean, best pair first."""

    pairs: tuple[tuple[str, str], ...] = ()

    def read(self, samples: Sequence[Sample]) -> tuple[float, float] | None:
        """(sum, count) since the engine's start; None when the page has no such pair."""
        for sum_name, count_name in self.pairs:
            seconds = exposition.total(samples, sum_name)
            count = exposition.total(samples, count_name)
            if seconds is not None and count is not None:
                return seconds, count
        return None


@dataclass(frozen=True, slots=True)
class Capacity:
    """Where the size of the KV memory stands, in tokens: the first of three that the page has.

    ``tokens`` says it as one figure. ``blocks`` are two series: how many
    blocks, and tokens in each. ``info`` is a series whose labels say it:
    its names, then the labels that multiply to the figure, best set first.
    """

    tokens: Series = Series(())
    blocks: tuple[Series, Series] | None = None
    info: tuple[tuple[str, ...], tuple[tuple[str, ...], ...]] = ((), ())

    def names(self) -> set[str]:
        """Every name this may read."""
        return {name for series in (self.tokens, *(self.blocks or ())) for name in series.names} | set(
            self.info[0]
        )

    def read(self, samples: Sequence[Sample]) -> int | None:
        """Tokens over all ranks; None when nothing, or nothing sensible, says it."""
        for value in (self.tokens.read(samples), self._of_blocks(samples), self._of_labels(samples)):
            if value is not None and 0 < value <= MOST_TOKENS:
                return round(value)
        return None

    def _of_blocks(self, samples: Sequence[Sample]) -> float | None:
        if self.blocks is None:
            return None
        count, each = self.blocks[0].read(samples), self.blocks[1].largest(samples)
        return None if count is None or each is None else count * each

    def _of_labels(self, samples: Sequence[Sample]) -> float | None:
        names, sets = self.info
        rows = [sample.labels for sample in samples if sample.name in names]
        for labels in sets:
            if rows and all(row.get(label, "").isdecimal() for row in rows for label in labels):
                return sum(_product(int(row[label][:20]) for label in labels) for row in rows)
        return None


NO_SERIES, NO_RATIO, NO_CAPACITY = Series(()), Ratio(), Capacity()


def _product(factors: Iterable[int]) -> float:
    result = 1.0
    for factor in factors:
        result *= factor
    return result
