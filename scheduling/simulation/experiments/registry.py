"""All experiments, in the order in which the article tells them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from scheduling.simulation.experiments.bare_engine import BARE_ENGINE
from scheduling.simulation.experiments.classes import CLASSES
from scheduling.simulation.experiments.experiment import Experiment
from scheduling.simulation.experiments.power_user import POWER_USER
from scheduling.simulation.experiments.round_robin import ROUND_ROBIN
from scheduling.simulation.experiments.token_cost import TOKEN_COST
from scheduling.simulation.experiments.weights import WEIGHTS

EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType(
    {
        experiment.name: experiment
        for experiment in (BARE_ENGINE, POWER_USER, ROUND_ROBIN, WEIGHTS, TOKEN_COST, CLASSES)
    }
)
