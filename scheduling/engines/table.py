"""What one engine calls the figures we need, and where it says them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from scheduling.core.limits import EngineLoad
from scheduling.engines import exposition
from scheduling.engines.exposition import Sample
from scheduling.engines.figures import NO_CAPACITY, NO_RATIO, NO_SERIES, Capacity, Ratio, Series

MOST_REQUESTS = 1_000_000  # no engine holds more; a bigger figure is absurd and counts as not said
MOST_COUNTED = 2**53  # a counter beyond it is no whole number any more, and none of an engine's
LATEST_START_S = 1e11  # Unix seconds some three thousand years ahead
SLOWEST_TOKEN_S = 3600.0
PROCESS_START = "process_start_time_seconds"

Reader = Callable[[str, Collection[str]], list[Sample]]


class Blind(ValueError):
    """The page answers, but says nothing of the engine's load."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of an engine: its path, and how its text becomes samples of the wanted names."""

    path: str
    samples: Reader = exposition.parse


@dataclass(frozen=True, slots=True)
class Table:
    """One engine's names. ``running`` and ``waiting`` are lists of alternatives, best first.

    ``pages`` are where it tells its load: the next one is asked when the one
    before is switched off (404). None: it tells no load, and ``probe`` is
    asked only to know whether anybody answers. ``setup`` are pages that tell
    its configuration, read once a process and then now and again. ``work``
    is a counter that grows while requests stream, not only when they end.
    ``switch`` is what to do when the page is missing or says nothing.
    """

    engine: str
    pages: tuple[Page, ...] = (Page("/metrics"),)
    setup: tuple[Page, ...] = ()
    probe: str = "/v1/models"
    switch: str = ""
    running: tuple[Series, ...] = ()
    waiting: tuple[Series, ...] = ()
    kv_usage: Series = NO_SERIES
    preemptions: Series = NO_SERIES
    work: Series = NO_SERIES
    token_time: Ratio = NO_RATIO
    most: Series = NO_SERIES
    capacity: Capacity = NO_CAPACITY

    def names(self) -> frozenset[str]:
        """Every name this table may read."""
        series = (*self.running, *self.waiting, self.kv_usage, self.preemptions, self.work, self.most)
        plain = {name for one in series for name in (*one.names, *one.plus)}
        paired = {name for pair in self.token_time.pairs for name in pair}
        return frozenset(plain | paired | self.capacity.names() | {PROCESS_START})

    def read(self, text: str, page: Page | None = None) -> Reading:
        """What a page says. Raises BadPage, and Blind when no load series is on it."""
        samples = (page or self.pages[0]).samples(text, self.names())
        running = _requests(self.running, samples)
        waiting = _requests(self.waiting, samples)
        if running is None and waiting is None:
            raise Blind(f"blind: the page has no {self.engine} load series; {self.switch}")
        return Reading(
            running=running,
            waiting=waiting,
            kv_usage=_fraction(self.kv_usage.largest(samples)),
            preemptions_total=_whole(self.preemptions.read(samples)),
            work_total=_whole(self.work.read(samples)),
            token_time=self.token_time.read(samples),
            started_at_s=_start(samples),
            setup=self._setup(samples),
        )

    def read_setup(self, text: str, page: Page) -> Setup:
        """What a page of ``setup`` says. Raises BadPage and Blind as its reader does."""
        return self._setup(page.samples(text, self.names()))

    def _setup(self, samples: Sequence[Sample]) -> Setup:
        return Setup(_requests((self.most,), samples) or None, self.capacity.read(samples))


@dataclass(frozen=True, slots=True)
class Setup:
    """What an engine tells of its own configuration. None means "not said"."""

    max_requests: int | None = None
    kv_tokens: int | None = None

    def over(self, other: Setup) -> Setup:
        """This, and from the other what this does not say."""
        return Setup(
            other.max_requests if self.max_requests is None else self.max_requests,
            other.kv_tokens if self.kv_tokens is None else self.kv_tokens,
        )


NO_SETUP = Setup()


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
    setup: Setup

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
            max_requests=self.setup.max_requests,
            kv_tokens=self.setup.kv_tokens,
        )

    def _mean_token_s(self, before: Reading | None) -> float | None:
        if self.token_time is None or before is None or before.token_time is None:
            return None
        seconds = self.token_time[0] - before.token_time[0]
        tokens = self.token_time[1] - before.token_time[1]
        if tokens <= 0 or seconds < 0:
            return None
        mean_s = seconds / tokens
        return mean_s if mean_s <= SLOWEST_TOKEN_S else None


def _requests(alternatives: Iterable[Series], samples: Sequence[Sample]) -> int | None:
    for series in alternatives:
        value = series.read(samples)
        if value is not None and value <= MOST_REQUESTS:
            return round(value)
    return None


def _start(samples: Sequence[Sample]) -> float | None:
    start_s = exposition.total(samples, PROCESS_START)
    return start_s if start_s is not None and start_s <= LATEST_START_S else None


def _fraction(value: float | None) -> float | None:
    return value if value is not None and value <= 1.0 else None


def _whole(value: float | None) -> int | None:
    return round(value) if value is not None and value <= MOST_COUNTED else None
