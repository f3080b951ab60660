"""A trial over HTTP, as its clients see it: through a real gateway, in front of a simulated engine."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.experiments.engines import Engine, process_of
from gateway.experiments.perform import perform
from gateway.experiments.stage import BY, NAME, PREFIX, Stage, clear
from scheduling.models import Change
from scheduling.simulation.experiments import engine_priority, figures
from scheduling.simulation.experiments.registry import EXPERIMENTS
from scheduling.simulation.experiments.trial import LIVE
from tests.fakes.engine import running_engine
from tests.fakes.plane import read, running_plane
from tests.fakes.waiting import until

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
QUICK = replace(LIVE, seconds=2)


async def played(name: str, number: int = 0):
    """One trial of an experiment, on stage in this process."""
    trial = EXPERIMENTS[name].trials(QUICK, 1)[number]
    engine_options = {"time_scale": QUICK.time_scale, "max_num_seqs": QUICK.seats, "model": NAME}
    async with running_engine(**engine_options) as engine, running_plane() as plane:
        stage = await read(Stage, [Engine(process_of(trial.workload.engines[0]), engine.url)], [trial])
        await read(stage.set, trial)
        await plane.settle()
        seen = await perform(trial, stage, plane.url)
        weights = {name: rule.weight for name, rule in plane.gateway.policy.tenants.items()}
        await read(clear)
        await plane.settle()
    return seen, weights


async def test_a_weight_is_changed_in_the_middle_while_requests_wait(valkey) -> None:
    seen, weights = await played("weights")
    changes = await read(lambda: list(Change.objects.filter(noun="tenant", field="weight", by=BY)))

    assert seen.failed == 0
    assert weights[f"{PREFIX}a"] == 6
    assert [(change.before, change.after) for change in changes if change.target == f"{PREFIX}a"] == [(1, 6)]
    assert figures.shares(seen, (1200, 2000))["a"] > figures.shares(seen, (400, 1000))["a"]


async def test_who_is_cut_off_at_the_end_has_what_it_read_and_waited_until_then(valkey) -> None:
    seen, _ = await played("power-user", 1)
    cut = [one for one in seen.served if one.completion_tokens < one.arrival.completion_tokens]
    unserved = [one for one in cut if one.first_token_ms is None]

    assert seen.failed == 0
    assert seen.inside.queue_max > 10  # nothing is held back: the line is in the engine
    assert all(one.ended_ms is not None for one in cut if one.first_token_ms is not None)
    assert all(one.completion_tokens == 0 for one in unserved)
    assert figures.first_token_s(seen, "power", 99) <= seen.ended_ms / 1000


async def test_a_request_that_the_gateway_refuses_is_counted(valkey) -> None:
    trial = EXPERIMENTS["power-user"].trials(QUICK, 1)[0]
    async with running_engine(model=NAME) as engine, running_plane() as plane:
        stage = await read(Stage, [Engine(process_of(trial.workload.engines[0]), engine.url)], [trial])
        stage.secrets["quiet"] = "fl_nobody"
        await plane.settle()
        seen = await perform(trial, stage, plane.url)
        await read(clear)

    assert seen.failed == len(seen.served) > 0


async def test_a_client_without_patience_leaves_and_its_request_never_reached_the_engine(valkey) -> None:
    names = [trial.label for trial in EXPERIMENTS["engine-priority"].trials(QUICK, 1)]
    seen, _ = await played("engine-priority", names.index(f"{engine_priority.GATEWAY}, clients leave"))

    assert seen.failed == 0
    assert figures.left_waiting(seen) > 20
    assert seen.inside.aborted <= figures.left_waiting(seen) / 10
    assert seen.inside.held_max <= QUICK.seats // 2  # the quota


async def test_whole_answers_are_asked_for_and_timed_to_their_end(valkey) -> None:
    seen, _ = await played("headers")
    answered = [one for one in seen.served if one.ended_ms is not None]

    assert seen.failed == 0
    assert answered
    assert all(one.completion_tokens == one.arrival.completion_tokens for one in answered)


async def test_metrics_that_a_trial_loses_are_there_again_after_it(valkey) -> None:
    trial = EXPERIMENTS["queue-target"].trials(QUICK, 1)[-1]
    async with running_engine(model=NAME, max_num_seqs=QUICK.seats) as engine, running_plane() as plane:
        stage = await read(Stage, [Engine(process_of(trial.workload.engines[0]), engine.url)], [trial])
        await read(stage.set, trial)
        await plane.settle()
        performing = asyncio.create_task(perform(trial, stage, plane.url))
        await until(lambda: bool(engine.faults.active()))
        seen = await performing
        await read(clear)

    assert seen.failed == 0
    assert not engine.faults.active()
