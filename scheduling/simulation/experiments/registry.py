"""All experiments, in the order in which the article tells them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from scheduling.simulation.experiments.bare_engine import BARE_ENGINE
from scheduling.simulation.experiments.classes import CLASSES
from scheduling.simulation.experiments.engine_priority import ENGINE_PRIORITY
from scheduling.simulation.experiments.experiment import Experiment
from scheduling.simulation.experiments.headers import HEADERS_TELL
from scheduling.simulation.experiments.kv import KV
from scheduling.simulation.experiments.no_back_pressure import NO_BACK_PRESSURE
from scheduling.simulation.experiments.power_user import POWER_USER
from scheduling.simulation.experiments.prefix import PREFIX
from scheduling.simulation.experiments.queue_target import QUEUE_TARGET
from scheduling.simulation.experiments.round_robin import ROUND_ROBIN
from scheduling.simulation.experiments.routing import ROUTING
from scheduling.simulation.experiments.token_cost import TOKEN_COST
from scheduling.simulation.experiments.tpot_target import TPOT_TARGET
from scheduling.simulation.experiments.weights import WEIGHTS

EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType(
    {
        experiment.name: experiment
        for experiment in (
            BARE_ENGINE,
            POWER_USER,
            ROUND_ROBIN,
            WEIGHTS,
            TOKEN_COST,
            CLASSES,
            NO_BACK_PRESSURE,
            QUEUE_TARGET,
            TPOT_TARGET,
            HEADERS_TELL,
            PREFIX,
            KV,
            ROUTING,
            ENGINE_PRIORITY,
        )
    }
)
