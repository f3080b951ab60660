"""The product as an admin starts it, under a real trace and the stock client."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import replay

TRACE = Path(__file__).resolve().parents[3] / replay.TRACE
SECONDS = 14
SHRINK = 8  # lengths of the trace over eight: hundreds of requests, still of very different sizes


@pytest.mark.product
def test_weights_hold_and_a_flood_does_not_delay_the_quiet_tenant() -> None:
    results = replay.compare(replay.trace(TRACE, SHRINK), SECONDS)

    fair = results[-1]
    assert [result.errors for result in results] == [0, 0]
    assert fair.backlogged
    assert fair.shares["research"] == pytest.approx(0.75, abs=0.03)
    assert replay.quiet_ratio(results) >= 20
