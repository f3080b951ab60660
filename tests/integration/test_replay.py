"""The product as an admin starts it, under a real trace and the stock client."""

from __future__ import annotations

import pytest

from benchmarks import replay
from benchmarks.load.shapes import TRACE
from scheduling.simulation.vtc.arena import find_trace

SECONDS = 14
SHRINK = 8  # lengths of the trace over eight: hundreds of requests, still of very different sizes


@pytest.mark.product
def test_weights_hold_and_a_flood_does_not_delay_the_quiet_tenant() -> None:
    results = replay.compare(replay.trace(find_trace(TRACE), SHRINK), SECONDS)

    fifo, fair = results
    assert [result.errors for result in results] == [0, 0]
    assert fair.backlogged
    assert fair.shares["research"] == pytest.approx(0.75, abs=0.03)
    # Who passed whom is the product's doing; how long the longest of twenty waits took is the host's as well.
    assert fifo.quiet_passed_by > replay.BACKLOG > 4 >= fair.quiet_passed_by
    assert fifo.quiet_wait_ms["p50"] >= 20 * fair.quiet_wait_ms["p50"]
