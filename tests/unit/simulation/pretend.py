"""A small engine in pretend time, for arithmetic that can be done in the head."""

from __future__ import annotations

from dataclasses import replace

from scheduling.simulation.engine.model import EngineModel
from scheduling.simulation.engine.profiles import StepCosts
from scheduling.simulation.engine.request import EngineConfig, EngineRequest

# One millisecond a step whatever is in it: the arithmetic can be done in the head.
ONE_MS = StepCosts(
    floor_ms=1, floor_per_seq_ms=0, slope_us_per_token=0, kv_us_per_token=0, host_ms=0, kv_tokens=0
)
ROOMY = EngineConfig(max_num_seqs=4, kv_tokens=16_000, max_model_len=1000, max_num_batched_tokens=100)


def ask(name, prompt=10, output=3, priority=0, hashes=()):
    return EngineRequest(name, prompt, output, output, priority, tuple(hashes))


def engine(costs=ONE_MS, **changes):
    return EngineModel(replace(ROOMY, **changes), costs)


def steps(model, count):
    """Let ``count`` steps end, each exactly when it is due; what was said in each."""
    said = []
    if model.due_ms is None:
        model.advance(0)
    for _ in range(count):
        said.append([(p.request_id, p.output_tokens) for p in model.advance(model.due_ms)])
    return said


def finish_order(model):
    order = []
    if model.due_ms is None:
        model.advance(0)
    while model.due_ms is not None:
        order += [p.request_id for p in model.advance(model.due_ms) if p.finish]
    return order
