"""What one engine calls the figures we need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scheduling.core.limits import EngineLoad
from scheduling.engines import exposition
from scheduling.engines.exposition import Sample

MOST_REQUESTS = 1_000_000  # no engine holds more; a bigger figure is absurd and counts as not said
PROCESS_START = "process_start_time_seconds"


class Blind(ValueError):
    """The page answers, but says nothing of the engine's load."""


@dataclass(frozen=True, slots=True)
class Series:
    """Exact names of one figure, best first. ``only`` picks one label value, if the name needs it."""

    names: tuple[str, ...]
    only: tuple[str, str] | None = None

    def read(self, samples: Sequence[Sample]) -> float | None:
        """The first name that the page has, summed over its label sets; None when it has none."""
        for name in self.names:
            if (value := exposition.total(filter(self._picked, samples), name)) is not None:
                return value
        return None

    def _picked(self, sample: Sample) -> bool:
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
class Table:
    """One engine's names. ``running`` and ``waiting`` are lists of alternatives, best first.

    ``path`` is where its page is, empty when the engine has none. ``work``
    is a counter that grows while requests stream, not only when they end.
    ``switch`` is what to do when the page is missing or says nothing.
    """

    engine: str
    path: str = "/metrics"
    switch: str = ""
    running: tuple[Series, ...] = ()
    waiting: tuple[Series, ...] = ()
    kv_usage: Series = Series(())
    preemptions: Series = Series(())
    work: Series = Series(())
    token_time: Ratio = Ratio()

    def names(self) -> frozenset[str]:
        """Every name this table may read."""
        series = (*self.running, *self.waiting, self.kv_usage, self.preemptions, self.work)
        plain = {name for one in series for name in one.names}
        paired = {name for pair in self.token_time.pairs for name in pair}
        return frozenset(plain | paired | {PROCESS_START})

    def read(self, page: str) -> Reading:
        """What the page says. Raises BadPage, and Blind when no load series is on it."""
        samples = exposition.parse(page, self.names())
        running = _requests(self.running, samples)
        waiting = _requests(self.waiting, samples)
        if running is None and waiting is None:
            raise Blind(f"blind: the page has no {self.engine} load series; {self.switch}")
        return Reading(
            running=running,
            waiting=waiting,
            kv_usage=_fraction(_largest(self.kv_usage, samples)),
            preemptions_total=_whole(self.preemptions.read(samples)),
            work_total=_whole(self.work.read(samples)),
            token_time=self.token_time.read(samples),
            started_at_s=exposition.total(samples, PROCESS_START),
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """One page in our words. None means "not said"."""

    running: int | None
    waiting: int | None
    kv_usage: float | None  # 0..1, of the fullest rank
    preemptions_total: int | None
    work_total: int | None
    token_time: tuple[float, float] | None  # seconds and tokens since the engine's start
    started_at_s: float | None

    def load(self, backend: str, read_at_s: float, before: Reading | None) -> EngineLoad:
        """The reading as the control law takes it; ``before`` gives the mean over the time between."""
        return EngineLoad(
            backend=backend,
            read_at_s=read_at_s,
            running=self.running,
            waiting=self.waiting,
            kv_usage=self.kv_usage,
            preemptions_total=self.preemptions_total,
            output_token_s=self._mean_token_s(before),
            started_at_s=self.started_at_s,
            work_total=self.work_total,
        )

    def _mean_token_s(self, before: Reading | None) -> float | None:
        if self.token_time is None or before is None or before.token_time is None:
            return None
        seconds = self.token_time[0] - before.token_time[0]
        tokens = self.token_time[1] - before.token_time[1]
        return seconds / tokens if tokens > 0 and seconds >= 0 else None


def _requests(alternatives: Iterable[Series], samples: Sequence[Sample]) -> int | None:
    for series in alternatives:
        value = series.read(samples)
        if value is not None and value <= MOST_REQUESTS:
            return round(value)
    return None


def _largest(series: Series, samples: Sequence[Sample]) -> float | None:
    # Ranks have memories of their own: the fullest one is where the engine stalls first.
    for name in series.names:
        if values := [sample.value for sample in samples if sample.name == name]:
            return max(values)
    return None


def _fraction(value: float | None) -> float | None:
    return value if value is not None and value <= 1.0 else None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
