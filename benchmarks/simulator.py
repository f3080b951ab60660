"""How long the simulator needs for an hour of 20 requests a second, as long as in Azure's conversations.

Prints one JSON line: CPU seconds for playing and for measuring, with as many
engines as carry the load and with one too few, and requests a CPU second.
CPU time: on a shared machine wall-clock time measures the neighbours.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scheduling.simulation.metrics import measure
from scheduling.simulation.scenario import Scenario
from scheduling.simulation.simulate import play
from scheduling.simulation.workloads import Overrides, make

SEED = 1
HOUR_S = 3600
REQUESTS_PER_S = 20.0
ENGINES = {"enough": 3, "too_few": 2}


def play_an_hour(engines: int) -> dict[str, float]:
    overrides = Overrides(seconds=HOUR_S, requests_per_s=REQUESTS_PER_S, engines=engines)
    scenario = Scenario(make("azure-conversation", SEED, overrides))
    began = time.process_time()
    run = play(scenario)
    played = time.process_time()
    result = measure(run)
    measured = time.process_time()
    return {
        "engines": engines,
        "requests": result.requests,
        "play_s": round(played - began, 2),
        "measure_s": round(measured - played, 2),
        "requests_per_s": round(result.requests / (measured - began)),
        "tokens_per_simulated_s": round(result.tokens_per_s),
    }


def main() -> None:
    hours = {name: play_an_hour(engines) for name, engines in ENGINES.items()}
    print(json.dumps({"benchmark": "simulator", "unit": "cpu_s", "simulated_s": HOUR_S, **hours}))


if __name__ == "__main__":
    main()
