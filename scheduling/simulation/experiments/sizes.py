"""Two tenants that ask for too much, one in short requests and one in long ones."""

from __future__ import annotations

from scheduling.simulation.experiments import figures
from scheduling.simulation.experiments.experiment import Row
from scheduling.simulation.experiments.traffic import Crowd, workload
from scheduling.simulation.experiments.trial import Observation, Size
from scheduling.simulation.scenario import Workload

SHORT, LONG = "short", "long"
TIMES_LONGER = 8
EACH_ASKS = 0.9  # of what the engine serves: together almost twice of it, each more than its half
WARM = 0.2  # of a trial, until both have a queue
EQUAL_WEIGHTS = {SHORT: 1, LONG: 1}


def equal(size: Size, seed: int) -> Workload:
    """Both send requests of the same size."""
    return _overload(size, seed, (size.prompt_tokens // 2, size.completion_tokens // 2), 1)


def unequal(size: Size, seed: int) -> Workload:
    """One sends requests eight times as long as the other's."""
    return _overload(size, seed, (size.prompt_tokens // 4, size.completion_tokens // 4), TIMES_LONGER)


def share_row(seen: Observation) -> Row:
    """How the tokens were shared."""
    shares = figures.shares(seen)
    return Row(
        seen.trial.label,
        {
            "short": shares.get(SHORT, 0.0),
            "long": shares.get(LONG, 0.0),
            "jain": figures.evenness(seen, EQUAL_WEIGHTS),
            "gap": figures.gap(seen, EQUAL_WEIGHTS),
            "written": figures.tokens_per_s(seen),
        },
    )


def _overload(size: Size, seed: int, short: tuple[int, int], times: int) -> Workload:
    crowds = [_crowd(size, SHORT, *short), _crowd(size, LONG, times * short[0], times * short[1])]
    return workload(size, seed, crowds, measured_from=WARM)


def _crowd(size: Size, tenant: str, prompt: int, completion: int) -> Crowd:
    return Crowd(tenant, EACH_ASKS * size.capacity_per_s(prompt, completion), prompt, completion, vary=False)
