"""A long what-if as a task of the jobs queue: `celery worker --include tests.fakes.what_if`."""

from __future__ import annotations

import time
from pathlib import Path

from celery import shared_task

from scheduling.simulation.scenario import Scenario
from scheduling.simulation.simulate import play
from scheduling.simulation.workloads import Overrides, make

LONGEST_S = 60.0


@shared_task(ignore_result=True)
def play_until(begun: str, end: str) -> None:
    """Touch the file ``begun``, then play a flood over and over until the file ``end`` is there."""
    Path(begun).touch()
    ends_s = time.monotonic() + LONGEST_S
    while not Path(end).exists() and time.monotonic() < ends_s:
        play(
            Scenario(
                make("flood", seed=1, overrides=Overrides(seconds=5)), "token_fair", "first_token_window"
            )
        )
