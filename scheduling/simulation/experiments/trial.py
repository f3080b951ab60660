"""One run of an experiment: what is played under which rules, and what was seen of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scheduling.simulation.engine.profiles import DEFAULT_PROFILE
from scheduling.simulation.record import Served
from scheduling.simulation.scenario import EngineSpec, Scenario, Workload
from scheduling.simulation.service import Curve, curves


@dataclass(frozen=True, slots=True)
class Trial:
    """Arrivals, and the rules that meet them. ``label`` names its row.

    ``dealt`` says which engine each request goes to, by its place among the
    arrivals and without a look at the engines; else the scheduler routes.
    """

    label: str
    scenario: Scenario
    dealt: Sequence[int] = ()
    pretend_only: str = ""  # why the running product cannot play it

    @property
    def workload(self) -> Workload:
        """What arrives."""
        return self.scenario.workload


@dataclass(frozen=True, slots=True)
class Inside:
    """What the engines showed of themselves in one trial, together.

    ``queue_max`` is the longest that one engine's own queue was seen,
    ``held_max`` the most requests that all held at once. ``aborted`` counts
    requests that they had, still without a token, when the client left.
    """

    queue_max: int = 0
    held_max: int = 0
    preemptions: int = 0
    cached_tokens: int = 0  # of prompts, found in a prefix cache
    aborted: int = 0


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of a trial, in order of arrival. Times are milliseconds since its beginning.

    ``ended_ms`` is when the trial was over; a request that was cut off then
    has the tokens that it got. ``service`` is each tenant's, in cost tokens.
    ``failed`` is how many requests were refused or broke.
    """

    trial: Trial
    served: Sequence[Served]
    service: Mapping[str, Curve]
    ended_ms: float
    inside: Inside
    failed: int


def observe(
    trial: Trial, served: Sequence[Served], ended_ms: float, inside: Inside, failed: int = 0
) -> Observation:
    """An observation with the service that follows from its requests."""
    return Observation(trial, served, curves(served), ended_ms, inside, failed)


Play = Callable[[Trial], Observation]


@dataclass(frozen=True, slots=True)
class Size:
    """How large an experiment is. Requests are lognormal around these means, in tokens."""

    seconds: int  # how long each trial offers traffic
    seats: int  # requests that the engine runs at once
    prompt_tokens: int
    completion_tokens: int
    quiet_per_s: float  # what a tenant that harms nobody asks for
    time_scale: float = 1.0  # how much faster than real the engine is
    profile: str = DEFAULT_PROFILE
    # Between two readings of the engine's metrics: as fast as some routers do, as we do, and seldom.
    polls_ms: tuple[int, int, int] = (50, 1000, 5000)

    @property
    def engine(self) -> EngineSpec:
        """The one engine, never given more than it has seats, unless nothing is held back."""
        return EngineSpec(self.profile, self.seats, self.time_scale, max_in_flight=self.seats)

    def capacity_per_s(self, prompt_tokens: int, completion_tokens: int) -> float:
        """How many requests of this size the engine ends in a second, by its cost formula."""
        started = self.seats / completion_tokens  # of the requests, in each step
        tokens = self.seats + started * prompt_tokens
        context = self.seats * (prompt_tokens + completion_tokens / 2)
        return 1000 * started / self.engine.costs().step_ms(self.seats, round(tokens), round(context))


SIMULATED = Size(seconds=90, seats=64, prompt_tokens=256, completion_tokens=192, quiet_per_s=2.0)
# Few seats and short answers: a laptop carries every token through three processes. No longer than this: a
# flood's line grows by half of what it sends, and each request in it holds two of the gateway's open files.
LIVE = Size(
    seconds=8,
    seats=8,
    prompt_tokens=64,
    completion_tokens=40,
    quiet_per_s=4.0,
    time_scale=2.0,
    polls_ms=(100, 1000, 2000),
)
